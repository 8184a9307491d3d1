"""Tables whose values tools have lost: numbers at their ends, texts in every character set, odd moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dbtool.servers.mysql import FlavourName


@dataclass(frozen=True)
class Dialect:
    """What a server understands."""

    flavour: FlavourName
    version: tuple[int, ...]  # such as (10, 11, 18)

    @property
    def mariadb(self) -> bool:
        return self.flavour == "mariadb"

    def is_mariadb(self, *version: int) -> bool:
        """Whether it is a MariaDB of that version or a newer one."""
        return self.mariadb and self.version >= version

    def is_mysql(self, *version: int) -> bool:
        """Whether it is a MySQL of that version or a newer one."""
        return not self.mariadb and self.version >= version


ALL_BYTES = bytes(range(256))
FLOATS = (
    *(
        "1.234567",
        "1.2345678",
        "0.1",
        "0.3",
        "-0.1",
        "3.14159274",
        "1e-7",
        "123456.789",
        "9.9999999e9",
        "1e10",
    ),
    *(str(16777216 + step) for step in range(-4, 5)),
    *(
        "3.402823466e38",
        "-3.402823466e38",
        "1.175494351e-38",
        "1.4e-45",
        "-1.4e-45",
        "0",
        "-0e0",
        "8388607.5",
    ),
)
DOUBLES = (
    *(
        "0.1",
        "0.30000000000000004",
        "1e308",
        "1.7976931348623157e308",
        "-1.7976931348623157e308",
        "1e15",
        "1e16",
    ),
    *(
        "2.2250738585072014e-308",
        "4.9406564584124654e-324",
        "-4.9406564584124654e-324",
        "9007199254740993",
        "0",
    ),
    *("-0e0", "123456789.12345679", "1e-10", "3.141592653589793", "1.0000000000000002", "1e22", "1e23"),
)
# Texts that a careless script takes for something else. Each is a value of its own.
TEXTS = (
    *(
        "",
        " ",
        "NULL",
        "null",
        "\\N",
        "N",
        "\\",
        "\\\\",
        "'",
        "''",
        '"',
        "`",
        "\\'",
        "'); DROP TABLE texts; -- ",
    ),
    *(
        "\0",
        "a\0b",
        "\n",
        "\r\n",
        "\r",
        "\t",
        "\x1a",
        "\b",
        "%",
        "_",
        "\\%",
        "\\_",
        ";\n",
        ",\n(",
        "),\n(1,'x')",
    ),
    *(
        "-- comment",
        "# comment",
        "/* comment */",
        "/*!99999 comment */",
        "/*M! x */",
        "*/",
        "DELIMITER ;;",
        "\\q",
    ),
    *(
        "trailing space ",
        " leading",
        "ünïcödé",
        "€",
        "名前",
        "\U0001f600",
        "e\u0301",
        "\ufeff",
        "\u2028",
        "ÿ",
    ),
    *("0", "-0", "00", "1e5", "0x41", "TRUE", "0000-00-00", "a" * 255, "é" * 100, "\\" * 99, "'" * 99),
)
# Character set -> what it can hold that is no plain ASCII; some of the characters have a backslash, a
# quote or a NUL for a byte.
CHARACTER_SETS = {
    "latin1": "é€ÿ",
    "latin2": "łőž",
    "latin5": "ğış",
    "latin7": "āčž",
    "ascii": "~",
    "cp1250": "łőž",
    "cp1251": "Жё",
    "cp1256": "شي",
    "cp1257": "āčž",
    "cp850": "éß",
    "cp852": "łő",
    "cp866": "Жё",
    "koi8r": "Жё",
    "koi8u": "Жї",
    "greek": "Ωά",
    "hebrew": "שא",
    "tis620": "กข",
    "macroman": "é",
    "macce": "ł",
    "keybcs2": "č",
    "hp8": "é",
    "dec8": "é",
    "swe7": "åäö",
    "armscii8": "Ա",
    "geostd8": "ა",
    "big5": "功許",
    "gbk": "乗誠",
    "gb2312": "中文",
    "sjis": "ソ表",
    "cp932": "ソ表①",
    "ujis": "ソ表",
    "eucjpms": "ソ表",
    "euckr": "한글",
    "utf8mb3": "名€",
    "utf8mb4": "名\U0001f600",
    "ucs2": "名✜℧",  # U+271C, U+2127: a quote and a file separator among the bytes
    "utf16": "名\U0001f600嬧",
    "utf16le": "名\U0001f600✜",
    "utf32": "名\U0001f600",
}


def text(value: str) -> str:
    """A string as a literal that no mode of the session changes."""
    return f"_utf8mb4 X'{value.encode().hex()}'"


def binary(value: bytes) -> str:
    """Bytes as a literal."""
    return f"X'{value.hex()}'"


def insert(table: str, columns: str, rows: Sequence[str]) -> str:
    """One INSERT of rows that are written as SQL, without their parentheses."""
    return f"INSERT INTO {table} ({columns}) VALUES\n" + ",\n".join(f"({row})" for row in rows)


def value_statements(dialect: Dialect) -> Iterator[str]:
    """The tables of values, filled."""
    yield from _numbers()
    yield from _floats()
    yield from _texts(dialect)
    yield from _binaries()
    yield from _moments()
    yield from _labels()
    yield from _documents(dialect)
    yield from _shapes(dialect)
    yield from _vectors(dialect)
    if dialect.mariadb:
        yield from _addresses(dialect)


def _numbers() -> Iterator[str]:
    sizes = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
    columns = [
        f"{name}_s {name}, {name}_u {name} unsigned, {name}_z {name} unsigned zerofill" for name in sizes
    ]
    yield f"""CREATE TABLE numbers (id int PRIMARY KEY, {", ".join(columns)},
        yes boolean, year_c year, bit_1 bit(1), bit_7 bit(7), bit_64 bit(64) DEFAULT b'101',
        decimal_c decimal(65,30), whole decimal(65,0), money decimal(10,2) unsigned zerofill)"""
    lowest = [f"{-(2 ** (bits - 1))}, 0, 0" for bits in sizes.values()]
    highest = [f"{2 ** (bits - 1) - 1}, {2**bits - 1}, {2**bits - 1}" for bits in sizes.values()]
    nines = "9" * 35 + "." + "9" * 30
    yield insert(
        "numbers",
        "id, " + ", ".join(f"{name}_s, {name}_u, {name}_z" for name in sizes) + ", yes, year_c, bit_1, bit_7,"
        " bit_64, decimal_c, whole, money",
        [
            f"1, {', '.join(lowest)}, false, 1901, b'0', b'0', 0, -{nines}, -{'9' * 65}, 0",
            f"2, {', '.join(highest)}, true, 2155, b'1', b'1111111', {2**64 - 1}, {nines}, {'9' * 65}, 99999999.99",
            f"3, {', '.join(['0, 7, 7'] * 5)}, 2, 0, 1, 39, 92, 1e-30, 0, 0.01",
            # Bits whose bytes are a quote, a backslash, a line's end, or no UTF-8.
            f"4, {', '.join(['NULL'] * 15)}, NULL, NULL, NULL, 10, {0x5C27000A0D1A22FF}, NULL, NULL, NULL",
        ],
    )


def _floats() -> Iterator[str]:
    yield """CREATE TABLE floats (id int PRIMARY KEY AUTO_INCREMENT, f float, f_fixed float(7,4), d double,
        d_fixed double(20,3), f_unsigned float unsigned)"""
    yield insert("floats", "f, d", [f"{f}, NULL" for f in FLOATS] + [f"NULL, {d}" for d in DOUBLES])
    thirds = [f"1.234567 + {n} / 7, {n} / 700, {n} / 3e0, {n} / 3, {n} / 11e0" for n in range(300)]
    yield insert("floats", "f, f_fixed, d, d_fixed, f_unsigned", thirds)
    yield "INSERT INTO floats (f_fixed, d_fixed) VALUES (999.9999, 12345678901234567.123), (-999.9999, -0.001)"


def _texts(dialect: Dialect) -> Iterator[str]:
    yield """CREATE TABLE texts (id int PRIMARY KEY AUTO_INCREMENT, v varchar(300) DEFAULT 'NULL', n varchar(10),
        c char(255), t tinytext, m mediumtext, l longtext, zero char(0), zero_not_null varchar(0) NOT NULL
        ) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"""
    yield insert(
        "texts", "v, n, c, t, m, l", [f"{text(v)}, NULL, {text(v)}" + f", {text(v)}" * 3 for v in TEXTS]
    )
    yield f"UPDATE texts SET l = REPEAT({text(''.join(TEXTS[:25]))}, 1000), zero = '' WHERE id % 9 = 1"
    names = [name for name in CHARACTER_SETS if name not in ("utf8mb3",)] + ["utf8mb3"]
    if dialect.is_mysql(8, 0):
        names.append("gb18030")
    columns = ", ".join(f"`{name}` varchar(60) CHARACTER SET {name}" for name in names)
    yield f"CREATE TABLE character_sets (id int PRIMARY KEY, {columns}) DEFAULT CHARACTER SET ascii"
    tricky = "a'b\\c\"d\n\0\x1a"
    for number, template in enumerate(("{}", tricky + "{}" + tricky, "{}\\", "", "NULL")):
        values = (text(template.format(CHARACTER_SETS.get(name, "㐀"))) for name in names)
        yield insert(
            "character_sets",
            ", ".join(["id", *(f"`{n}`" for n in names)]),
            [f"{number}, {', '.join(values)}"],
        )
    yield "INSERT INTO character_sets (id) VALUES (99)"  # all are NULL
    # Bytes that mean something else, or nothing, in the set that the column says it has.
    yield """CREATE TABLE mislabelled (id int PRIMARY KEY, l1 varchar(300) CHARACTER SET latin1,
        gbk varchar(60) CHARACTER SET gbk, sjis varchar(60) CHARACTER SET sjis, big5 varchar(60) CHARACTER SET big5)"""
    yield (
        "INSERT INTO mislabelled VALUES (1, _latin1 X'C3A9E282AC', _gbk X'815CBF5C', _sjis X'835C', _big5 X'A55C'), "
        f"(2, _latin1 {binary(ALL_BYTES)}, _gbk X'B0A1', NULL, NULL), (3, _latin1 X'815C27', NULL, NULL, NULL)"
    )


def _binaries() -> Iterator[str]:
    yield """CREATE TABLE binaries (id int PRIMARY KEY, b binary(16) DEFAULT 0x00FF27, v varbinary(600), t tinyblob,
        bl blob, m mediumblob, l longblob, zero binary(0))"""
    yield insert(
        "binaries",
        "id, b, v, t, bl, m, l, zero",
        [
            f"1, X'00', {binary(ALL_BYTES)}, '', {binary(ALL_BYTES[::-1] * 4)}, NULL, REPEAT({binary(ALL_BYTES)}, 4096), ''",
            "2, X'20202020', X'', NULL, NULL, '', REPEAT(X'00', 70000), NULL",
            f"3, X'{'5C' * 16}', 'NULL', '\\\\N', X'0A', X'1A', REPEAT(X'275C', 40000), NULL",
            "4, DEFAULT, X'C328', X'FFFE', X'ED A0 80', X'F4908080', NULL, NULL".replace(" A0 80", "A080"),
        ],
    )


def _moments() -> Iterator[str]:
    yield """CREATE TABLE moments (id int PRIMARY KEY AUTO_INCREMENT, d date DEFAULT '0000-00-00', t time(6), dt datetime,
        dt6 datetime(6), ts timestamp NOT NULL DEFAULT '0000-00-00 00:00:00',
        ts6 timestamp(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), y year)"""
    # Both ends of summer time in Paris, and the hours that it has twice or not at all.
    clock = ["2024-03-31 00:59:59", "2024-03-31 01:00:00", "2024-03-31 02:30:00", "2024-10-27 00:30:00"]
    clock += ["2024-10-27 01:30:00", "2024-10-27 02:30:00", "1970-01-01 00:00:01", "2038-01-19 03:14:07"]
    rows = [
        f"'{m[:10]}', '{m[11:]}.000001', '{m}', '{m}.999999', '{m}', '{m}.123456', {m[:4]}" for m in clock
    ]
    zero = "0000-00-00 00:00:00"
    rows += [
        f"'0000-00-00', '00:00:00', '{zero}', '{zero}', '{zero}', '{zero}', 0",
        f"'2024-00-00', '-838:59:59.000000', '2024-01-00 01:02:03', '0000-01-01 00:00:00', '{zero}', NULL, NULL",
        f"'9999-12-31', '838:59:59.000000', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999', '{zero}', NULL, 1901",
        f"'0001-01-01', '-00:00:00.000001', '0001-01-01 00:00:00', '1000-01-01 00:00:00.000001', '{zero}', NULL, 2155",
    ]
    yield insert("moments", "d, t, dt, dt6, ts, ts6, y", rows)
    yield "SET sql_mode = 'ALLOW_INVALID_DATES'"
    yield "INSERT INTO moments (d, dt, ts6) VALUES ('2024-02-31', '2023-02-30 12:00:00', NULL)"
    yield "SET sql_mode = ''"


def _labels() -> Iterator[str]:
    members = ", ".join(f"'m{n}'" for n in range(62))
    yield f"""CREATE TABLE labels (id int PRIMARY KEY AUTO_INCREMENT, e enum('z', 'a', 'it''s', 'a,b', 'NULL', 'ü', ''),
        s set('z', 'a', 'it''s', 'ü'), l1 enum('é', 'è') CHARACTER SET latin1, many set('first', {members}, 'last')
        ) DEFAULT CHARACTER SET utf8mb4"""
    yield "INSERT INTO labels (e, s, l1, many) VALUES ('z', 'z,a', 'é', 'first,last'), ('it''s', 'it''s,ü', 'è', '')"
    yield "INSERT INTO labels (e, s, many) VALUES ('a,b', '', 18446744073709551615), ('', NULL, 0), ('NULL', 'a', NULL)"
    yield "INSERT INTO labels (e, l1) VALUES (NULL, NULL)"
    # Two labels that look the same, a value 0 beside an empty label, and labels that are other labels' numbers.
    yield """CREATE TABLE twins (id int AUTO_INCREMENT, e enum('z', '', '1', '3', 'a', 'A', 'its') NOT NULL,
        s set('', 'b', '0', 'B', '63') NOT NULL, n enum('x', '') NULL, c enum('é', 'e') CHARACTER SET latin1,
        PRIMARY KEY (e, s, id), KEY (id)) DEFAULT CHARACTER SET utf8mb4"""
    rows = [f"{n % 8}, {n % 32}, {n % 3}, {n % 2 + 1}" for n in range(64)]
    yield insert("twins", "e, s, n, c", [*rows, "0, 0, NULL, NULL", "'', '', '', 'e'"])


def _documents(dialect: Dialect) -> Iterator[str]:
    yield "CREATE TABLE documents (id int PRIMARY KEY, j json, d json NOT NULL)"
    documents = [
        "null",
        "true",
        '""',
        '"NULL"',
        "0",
        "-1",
        "18446744073709551615",
        "1.5",
        "1e100",
        "[]",
        "{}",
    ]
    documents += [
        '{"a": [1, {"b": null}], "": "x"}',
        '"\\\\ \\" \\n \\u0000 \\u001a \'"',
        '["\U0001f600", "é"]',
    ]
    documents += [
        '{"' + "k" * 300 + '": "' + "v" * 5000 + '"}',
        "-1.7976931348623157e308",
        "[0.1, 0.30000000000000004]",
    ]
    rows = [f"{number}, {text(document)}, {text(document)}" for number, document in enumerate(documents)]
    yield insert("documents", "id, j, d", [f"{row}" for row in rows] + ["99, NULL, '1'"])


def _shapes(dialect: Dialect) -> Iterator[str]:
    srid = "" if dialect.mariadb else " SRID 4326"
    yield f"""CREATE TABLE shapes (id int PRIMARY KEY, g geometry, p point NOT NULL{srid}, l linestring, a polygon,
        gc geometrycollection, mp multipoint, SPATIAL KEY p (p) COMMENT 'where')"""
    yield """INSERT INTO shapes VALUES
        (1, ST_GeomFromText('POINT(1.1 -2.2)'), ST_GeomFromText('POINT(48.85 2.35)', 4326),
         ST_GeomFromText('LINESTRING(0 0,1 1,2 0.1)'), ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 10,0 0),(1 1,2 1,2 2,1 1))'),
         ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,3 3))'), ST_GeomFromText('MULTIPOINT(1 1,2 2)')),
        (2, ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'), ST_GeomFromText('POINT(-89.9 179.9)', 4326),
         NULL, NULL, NULL, NULL),
        (3, ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))', 4326), ST_GeomFromText('POINT(0 0)', 4326),
         NULL, NULL, NULL, NULL),
        (4, NULL, ST_GeomFromText('POINT(0.1 0.30000000000000004)', 4326), NULL, NULL, NULL, NULL)"""


def _vectors(dialect: Dialect) -> Iterator[str]:
    if not (dialect.is_mariadb(11, 7) or dialect.is_mysql(9, 0)):
        return
    convert = "VEC_FromText" if dialect.mariadb else "STRING_TO_VECTOR"
    index = ", VECTOR INDEX (v) M=8 DISTANCE=cosine" if dialect.mariadb else ""
    yield f"CREATE TABLE vectors (id int PRIMARY KEY, v vector(3) NOT NULL, w vector(2){index})"
    values = [
        "[1.234567, 16777217, 0.1]",
        "[3.4028234e38, 1.1754944e-38, -0.0]",
        "[0.3, 92, 39]",
        "[1, 2, 3]",
    ]
    rows = [f"{number}, {convert}('{value}'), NULL" for number, value in enumerate(values)]
    yield insert(
        "vectors", "id, v, w", [*rows, f"9, {convert}('[0.1,0.2,0.7]'), {convert}('[10, 0.333333343]')"]
    )
    # Bytes that no text of a number gives, and those that clients and scripts escape: 0, 9, 10, 13, 26, 39, 92.
    yield "CREATE TABLE vectors_of_bytes (id int PRIMARY KEY, v vector(2))"
    raw = ["0000008001000000", "0000000000000080", "0a0d1a275c09003f", "ffff7f7fffff7fff"]
    taken = raw if not dialect.mariadb else raw[:3]  # MariaDB takes no infinity and no NaN
    yield insert("vectors_of_bytes", "id, v", [*(f"{n}, X'{v}'" for n, v in enumerate(taken)), "9, NULL"])
    yield "CREATE TABLE vectors_wide (id int PRIMARY KEY, v vector(1536) NOT NULL)"
    yield insert("vectors_wide", "id, v", [f"{n}, REPEAT(X'5c27{n:02x}3f', 1536)" for n in range(1, 40)])


def _addresses(dialect: Dialect) -> Iterator[str]:
    yield "CREATE TABLE addresses6 (id int PRIMARY KEY, a inet6, b inet6 NOT NULL DEFAULT '::')"
    yield "INSERT INTO addresses6 VALUES (1, '2001:db8::27:5c', '::ffff:192.0.2.1'), (2, NULL, '::')"
    if dialect.is_mariadb(10, 10):
        yield "CREATE TABLE addresses4 (id int PRIMARY KEY, a inet4, u uuid, UNIQUE (u))"
        yield "INSERT INTO addresses4 VALUES (1, '192.0.2.92', '123e4567-e89b-12d3-a456-426655440000'), (2, NULL, NULL)"
