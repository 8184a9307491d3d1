"""Keys that are one integer, packed and unpacked; alike in C and in Python."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows.keyed import CALM

from dbtool.rows import pack_integers, unpack_integers

pytestmark = pytest.mark.usefixtures("implementation")

MOST = (1 << 63) - 1
INTEGERS = st.lists(
    st.one_of(st.integers(-MOST - 1, MOST), st.integers(-3, 300), st.sampled_from([MOST, -MOST - 1]))
)


def copy_text(keys: list[bytes]) -> bytes:
    return b"".join(b"before\t" + key + b"\tbehind\n" for key in keys)


@CALM
@given(values=INTEGERS)
def test_what_is_packed_comes_back(values: list[int]) -> None:
    keys = [b"%d" % value for value in values]
    packed = pack_integers(copy_text(keys), (1,), "copy")
    assert packed is not None
    assert unpack_integers(packed) == b"".join(key + b"\n" for key in keys)
    if values:
        rows = b",\n".join(b"('x'," + key + b")" for key in keys)
        inserts = b"INSERT INTO `t` (`a`,`b`) VALUES\n" + rows + b";\n"
        assert pack_integers(inserts, (1,), "insert") == packed


def test_numbers_in_their_order_take_a_byte_each() -> None:
    keys = [b"%d" % number for number in range(1_000, 3_000)]
    packed = pack_integers(copy_text(keys), (1,), "copy")
    assert packed == b"\xd0\x0f" + b"\x02" * 1_999
    assert pack_integers(b"-1\n", (0,), "copy") == b"\x01"
    assert pack_integers(b"-9223372036854775808\n", (0,), "copy") == b"\xff" * 9 + b"\x01"


@pytest.mark.parametrize(
    "key",
    [
        b"", b"-", b"-0", b"00", b"01", b"+1", b" 1", b"1.0", b"1e3", b"x", b"\\N", b"9223372036854775808",
        b"-9223372036854775809", b"99999999999999999999999",
    ],
)  # fmt: skip
def test_what_is_no_integer(key: bytes) -> None:
    assert pack_integers(copy_text([b"1", key, b"2"]), (1,), "copy") is None


def test_several_columns_are_no_integer() -> None:
    assert pack_integers(b"1\t2\n", (0, 1), "copy") is None


def test_malformed() -> None:
    with pytest.raises(ValueError, match="end"):
        pack_integers(b"1\n2", (0,), "copy")
    for packed in (b"\x80", b"\x02\xff", b"\xff" * 12):
        with pytest.raises(ValueError, match="cut off"):
            unpack_integers(packed)
