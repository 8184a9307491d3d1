"""Client programs are run to their end, or ended; every stage's status counts; secrets stay private."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dbtool import platforms, process, redaction
from dbtool.errors import NotFoundError
from dbtool.process import ProgramFailedError


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def test_output_and_the_end_of_stderr_are_kept() -> None:
    done = process.run(shell("echo out; echo first >&2; echo last >&2"))
    assert done == process.Finished(0, b"out\n", "first\nlast")


def test_a_failing_program_says_why() -> None:
    with pytest.raises(ProgramFailedError, match="sh failed: it is broken") as caught:
        process.run(shell("echo it is broken >&2; exit 7"))
    assert caught.value.exit_status == 7


def test_a_program_killed_by_a_signal_is_an_error() -> None:
    with pytest.raises(ProgramFailedError, match="SIGKILL") as caught:
        process.run(shell("kill -KILL $$"))
    assert caught.value.exit_status == -9


def test_an_unchecked_failure_is_told_by_its_status() -> None:
    assert process.run(shell("exit 3"), check=False).exit_status == 3


def test_a_missing_program_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no-such-program"):
        process.run(["/nonexistent/no-such-program"])


def test_arguments_are_no_shell_text() -> None:
    assert process.run(["/bin/echo", "$HOME; `id` * -rf"]).stdout == b"$HOME; `id` * -rf\n"


def test_much_input_and_output_pass_at_once() -> None:
    pieces = (bytes([number % 256]) * 100_000 for number in range(200))
    received = b"".join(process.stream(["/bin/cat"], stdin=pieces))
    assert len(received) == 20_000_000
    assert received[:100_000] == bytes(100_000)


def test_much_stderr_does_not_block_and_its_end_is_kept() -> None:
    done = process.run(shell("i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done"))
    assert done.stderr.endswith("line 19999")
    assert len(done.stderr) <= 16 * 1024


def test_no_input_means_an_empty_one() -> None:
    assert process.run(["/bin/cat"]).stdout == b""


def test_every_stage_of_a_pipeline_counts() -> None:
    first = process.stream(shell("echo data; exit 5"))
    with pytest.raises(ProgramFailedError) as caught:
        process.run(["/bin/cat"], stdin=first)
    assert caught.value.exit_status == 5


def test_input_that_nobody_read_is_an_error() -> None:
    with pytest.raises(ProgramFailedError, match="before it had read all of its input"):
        process.run(shell("exec 0<&-; exit 0"), stdin=(b"x" * 1_000_000 for _ in range(3)))


def test_the_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(ProgramFailedError, match="longer than it was given"):
        process.run(shell(f"sleep 60 & echo $! > {tmp_path}/pid; wait"), deadline_seconds=0.5)
    assert time.monotonic() - begun < 5
    assert _gone(int((tmp_path / "pid").read_text()))


def test_a_stalled_program_is_ended_and_a_slow_consumer_is_no_stall() -> None:
    with pytest.raises(ProgramFailedError, match="did nothing for"):
        list(process.stream(shell("echo a; sleep 60"), stall_seconds=0.3))
    pieces = []
    for piece in process.stream(shell("echo a; sleep 0.1; echo b"), stall_seconds=0.3):
        pieces.append(piece)
        time.sleep(0.5)
    assert b"".join(pieces) == b"a\nb\n"


def test_leaving_early_ends_the_program(tmp_path: Path) -> None:
    def first(pieces: Iterator[bytes]) -> bytes:
        return next(pieces)

    pieces = process.stream(shell(f"echo $$ > {tmp_path}/pid; echo hello; exec sleep 60"))
    assert first(pieces) == b"hello\n"
    pieces.close()  # type: ignore[attr-defined]
    assert _gone(int((tmp_path / "pid").read_text()))


def test_a_program_that_ignores_terminate_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_TERMINATION_GRACE_SECONDS", 0.3)
    with pytest.raises(ProgramFailedError):
        process.run(shell(f"trap '' TERM; echo $$ > {tmp_path}/pid; sleep 60"), deadline_seconds=0.5)
    assert _gone(int((tmp_path / "pid").read_text()))


def test_what_ignores_terminate_in_the_group_is_killed_with_it(tmp_path: Path) -> None:
    stubborn = tmp_path / "stubborn"
    stubborn.write_text(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done")
    with pytest.raises(ProgramFailedError):
        process.run(shell(f"sh {stubborn} & exec sleep 60"), deadline_seconds=0.7)
    assert _gone(int((tmp_path / "pid").read_text()))


def test_an_interrupt_ends_the_program(tmp_path: Path) -> None:
    script = (
        "from dbtool import process\n"
        f"process.run(['/bin/sh', '-c', 'echo $$ > {tmp_path}/pid; exec sleep 60'])\n"
    )
    ours = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.02)
    ours.send_signal(signal.SIGINT)
    ours.wait(10)
    assert _gone(int((tmp_path / "pid").read_text()))


def test_secrets_in_stderr_are_hidden() -> None:
    redaction.register("s3cret-value")
    with pytest.raises(ProgramFailedError) as caught:
        process.run(shell("echo 'login with s3cret-value failed' >&2; exit 1"))
    assert "s3cret" not in caught.value.message + caught.value.stderr
    assert caught.value.stderr == "login with *** failed"


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_private_files_are_private_under_any_umask(umask: int) -> None:
    before = os.umask(umask)
    try:
        with process.private_directory() as directory:
            process.write_private_file(directory / "secret", b"x")
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            assert stat.S_IMODE((directory / "secret").stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert not directory.exists()


def test_a_private_file_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        process.write_private_file(tmp_path / "link", b"x")
    assert not (tmp_path / "elsewhere").exists()


def test_leftovers_of_dead_processes_are_wiped_and_those_of_living_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    script = (
        "import sys, time\nfrom dbtool import process\n"
        "with process.private_directory() as directory:\n"
        "    process.write_private_file(directory / 'secret', b'x')\n"
        "    print(directory, flush=True)\n"
        "    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    left = Path(other.stdout.readline().strip())
    with process.private_directory():
        assert (left / "secret").exists()
    other.kill()
    other.wait()
    other.stdout.close()
    assert (left / "secret").exists()
    with process.private_directory():
        assert not left.exists()


@pytest.mark.parametrize("wiped_before", ["the lock is made", "the lock is taken"])
def test_a_folder_that_is_wiped_while_it_is_made_is_made_again(
    wiped_before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    wiped: list[Path] = []

    def wipe_once() -> None:
        if not wiped:
            wiped.extend(tmp_path.iterdir())
            with process.private_directory():  # as another process would: it begins by wiping
                assert not wiped[0].exists()

    chmod, lock = Path.chmod, platforms.lock

    def chmod_then_wipe(path: Path, mode: int) -> None:
        chmod(path, mode)
        wipe_once()

    def wipe_then_lock(descriptor: int, timeout_seconds: float | None = None) -> bool:
        if timeout_seconds is None:  # the maker's
            wipe_once()
        return lock(descriptor, timeout_seconds)

    if wiped_before == "the lock is made":
        monkeypatch.setattr(Path, "chmod", chmod_then_wipe)
    else:
        monkeypatch.setattr(platforms, "lock", wipe_then_lock)
    with process.private_directory() as directory:
        assert directory not in wiped
        process.write_private_file(directory / "secret", b"x")
    assert list(tmp_path.iterdir()) == []


def test_many_private_folders_at_once_do_not_wipe_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def use(number: int) -> None:
        for _ in range(40):
            with process.private_directory() as directory:
                process.write_private_file(directory / "secret", b"x")
                assert (directory / "secret").read_bytes() == b"x", number

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    assert list(tmp_path.iterdir()) == []


def _gone(pid: int) -> bool:
    """Whether a process is gone, or only waits for its parent to notice."""
    for _ in range(50):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False
