"""The local store: whole files or none, private, durable, and clear errors."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.sample_backups import run_python

from dbtool.errors import BusyError, NotFoundError, StorageError
from dbtool.storage.local import TEMPORARY_PREFIX, LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "repository")


@pytest.fixture
def set_umask() -> Iterator[Callable[[int], None]]:
    before = os.umask(0)
    os.umask(before)

    def change(mask: int) -> None:
        os.umask(mask)

    yield change
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put(store: LocalStore, name: str, data: bytes) -> None:
    with store.put(name) as upload:
        upload.write(data)
        upload.commit()


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_what_was_put_is_there(store: LocalStore) -> None:
    data = os.urandom(3_000_000)
    with store.put("a/b c/d") as upload:
        upload.write(data[:10])
        upload.write(memoryview(data)[10:2_000_000])
        upload.write(bytearray(data[2_000_000:]))
        assert list(store.list()) == []
        with pytest.raises(NotFoundError):
            store.get("a/b c/d")
        upload.commit()
    pieces = list(store.get("a/b c/d"))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 1 << 20
    assert store.size("a/b c/d") == len(data)
    assert store.get_range("a/b c/d", 2_999_990, 100) == data[-10:]
    assert store.get_range("a/b c/d", 5, 7) == data[5:12]
    assert store.get_range("a/b c/d", 4_000_000, 7) == b""
    assert [(entry.name, entry.size_bytes) for entry in store.list()] == [("a/b c/d", len(data))]


def test_an_upload_that_is_left_leaves_nothing(store: LocalStore) -> None:
    put(store, "file", b"before")
    with pytest.raises(RuntimeError, match="halfway"), store.put("file") as upload:  # noqa: PT012
        upload.write(b"after")
        raise RuntimeError("halfway")
    assert b"".join(store.get("file")) == b"before"
    assert everything(Path(store.url)) == ["file"]
    with pytest.raises(StorageError):
        upload.write(b"more")
    with pytest.raises(StorageError):
        upload.commit()
    upload.abort()


def test_put_if_absent_never_replaces(store: LocalStore) -> None:
    assert store.put_if_absent("folder/file", b"first") is True
    assert store.put_if_absent("folder/file", b"second") is False
    assert b"".join(store.get("folder/file")) == b"first"
    assert everything(Path(store.url)) == ["folder", "folder/file"]


def test_put_if_absent_without_hard_links(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert store.put_if_absent("file", b"first") is True
    assert store.put_if_absent("file", b"second") is False
    assert b"".join(store.get("file")) == b"first"
    assert everything(Path(store.url)) == ["file"]


def test_one_of_many_gets_the_name(store: LocalStore) -> None:
    won: list[int] = []

    def claim(number: int) -> None:
        if store.put_if_absent("claim", f"{number}".encode() * 1000):
            won.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert b"".join(store.get("claim")) == f"{won[0]}".encode() * 1000


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_private_whatever_the_umask(tmp_path: Path, set_umask: Callable[[int], None], mask: int) -> None:
    set_umask(mask)
    store = LocalStore(tmp_path / "new" / "repository")
    put(store, "folder/file", b"data")
    store.put_if_absent("folder/other", b"data")
    with store.lock("catalogue", 1):
        pass
    root = tmp_path / "new"
    for path in (root, *root.rglob("*")):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/.", "nul\0", "a/"])
def test_names_that_lead_elsewhere_are_refused(store: LocalStore, name: str) -> None:
    for use in (store.put, store.get, store.size, store.delete):
        with pytest.raises(StorageError):
            use(name)


def test_odd_names_work(store: LocalStore) -> None:
    odd = ["with space", "-rf", '"quoted"', "new\nline", "größe 数据", "a'b", "%2F", "x" * 255]
    for name in odd:
        put(store, f"{name}/{name}", name.encode())
    assert {entry.name for entry in store.list()} == {f"{name}/{name}" for name in odd}
    assert sorted(store.folders()) == sorted(odd)
    for name in odd:
        assert b"".join(store.get(f"{name}/{name}")) == name.encode()


def test_listing_goes_by_name_and_shows_no_temporary_files(store: LocalStore) -> None:
    for name in ("b/2", "b/10", "b.x", "a", "b/1/z"):
        put(store, name, b"")
    upload = store.put("b/unfinished")
    assert [entry.name for entry in store.list()] == ["a", "b.x", "b/1/z", "b/10", "b/2"]
    assert [entry.name for entry in store.list("b/")] == ["b/1/z", "b/10", "b/2"]
    assert list(store.folders()) == ["b"]
    assert list(store.folders("b/")) == ["1"]
    assert list(store.list("nowhere/")) == []
    assert list(store.folders("nowhere/")) == []
    upload.abort()


def test_links_are_not_followed(store: LocalStore, tmp_path: Path) -> None:
    put(store, "file", b"data")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (Path(store.url) / "link").symlink_to(secret)
    os.mkfifo(Path(store.url) / "fifo")
    for name in ("link", "fifo"):
        with pytest.raises(StorageError):
            store.get(name)
        with pytest.raises(StorageError):
            store.size(name)
    assert [entry.name for entry in store.list()] == ["file"]
    put(store, "link", b"new")
    assert secret.read_text() == "secret"


def test_delete(store: LocalStore) -> None:
    put(store, "folder/file", b"")
    put(store, "folder/deep/file", b"")
    upload = store.put("folder/unfinished")
    store.delete("folder/file")
    store.delete("folder/file")
    store.delete("nowhere/file")
    assert [entry.name for entry in store.list()] == ["folder/deep/file"]
    store.delete_folder("folder/")
    store.delete_folder("folder/")
    assert everything(Path(store.url)) == []
    upload.abort()


def test_a_missing_file_is_not_found(store: LocalStore) -> None:
    for use in (store.get, store.size):
        with pytest.raises(NotFoundError) as caught:
            use("missing")
        assert caught.value.hint
    with pytest.raises(NotFoundError):
        store.get_range("missing/too", 0, 1)


def test_a_file_in_the_way(store: LocalStore) -> None:
    put(store, "file", b"")
    with pytest.raises(StorageError, match="not a directory"):
        store.put("file/below")


def test_a_name_too_long(store: LocalStore) -> None:
    with pytest.raises(StorageError, match="too long"):
        put(store, "x" * 300, b"")


def test_the_lock_keeps_others_out(store: LocalStore) -> None:
    Path(store.url).mkdir()
    with store.lock("catalogue", 1):
        with pytest.raises(BusyError), LocalStore(store.url).lock("catalogue", 0.1):
            pass
        assert list(store.list()) == []
    with store.lock("catalogue", 0.1):
        pass


WRITE_TOO_MUCH = """
import resource, signal, sys
from dbtool.errors import StorageError
from dbtool.storage.local import LocalStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = LocalStore(sys.argv[1])
for write in (
    lambda: store.put("small/big").__enter__().write(bytes(3_000_000)),
    lambda: store.put_if_absent("big", bytes(200_000)),
):
    try:
        write()
    except StorageError as error:
        print(error.message, "|", error.hint)
"""


def test_a_write_beyond_the_limit(tmp_path: Path) -> None:
    child = run_python(WRITE_TOO_MUCH, str(tmp_path))
    out, errors = child.communicate()
    assert child.returncode == 0, errors
    assert out.decode().count("the file would be larger than the limit | ") == 2
    assert not (tmp_path / "small" / "big").exists()
    assert not (tmp_path / "big").exists()


WITHOUT_RIGHTS = """
import os, sys
from dbtool.errors import StorageError
from dbtool.storage.local import LocalStore
from dbtool.storage.open import open_store
if os.geteuid() == 0:  # root may do anything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
store = LocalStore(sys.argv[1])
for use in (
    lambda: store.put("file"),
    lambda: store.put("folder/file"),
    lambda: store.put_if_absent("file", b""),
    lambda: store.get("secret"),
    lambda: store.delete("secret"),
    lambda: list(store.list("closed/")),
    lambda: store.lock("catalogue", 1).__enter__(),
    lambda: open_store(sys.argv[1] + "/new", create=True),
):
    try:
        use()
        print("allowed")
    except StorageError as error:
        print(error.message, "|", error.hint)
"""


def test_without_rights() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other accounts
        root = Path(folder) / "repository"
        (root / "closed").mkdir(parents=True)
        (root / "secret").write_text("secret")
        (root / "secret").chmod(0)
        (root / "closed").chmod(0)
        root.chmod(0o555)
        Path(folder).chmod(0o755)
        child = run_python(WITHOUT_RIGHTS, str(root))
        out, errors = child.communicate()
        root.chmod(0o700)
        (root / "closed").chmod(0o700)
    assert child.returncode == 0, errors
    lines = out.decode().splitlines()
    assert len(lines) == 8
    for line in lines:
        assert "permission denied | give this account the rights" in line


def test_the_full_disk(tmp_path: Path) -> None:
    """/dev/full cannot be renamed over, so a real small file system is needed; where we may not mount
    one, the test with the limit of file sizes stands for it."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    child = run_python(
        "import os, subprocess, sys\n"
        "done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', sys.argv[1]], "
        "capture_output=True)\n"
        "print(done.returncode)\n",
        str(mounted),
    )
    out, _ = child.communicate()
    if out.strip() != b"0":
        pytest.skip("this account may not mount a small file system")
    try:
        store = LocalStore(mounted)
        with pytest.raises(StorageError, match="no space is left") as caught, store.put("big") as upload:
            upload.write(bytes(4_000_000))
        assert caught.value.hint
        assert everything(mounted) == []
        with pytest.raises(StorageError, match="no space is left"):
            store.put_if_absent("big", bytes(2_000_000))
        assert everything(mounted) == []
        put(store, "small", bytes(500_000))
    finally:
        run_python(f"import os; os.execvp('umount', ['umount', {str(mounted)!r}])").communicate()


def test_temporary_names_tell_what_they_are(store: LocalStore) -> None:
    with store.put("file"):
        (left,) = Path(store.url).iterdir()
        assert left.name.startswith(TEMPORARY_PREFIX)
    assert everything(Path(store.url)) == []
