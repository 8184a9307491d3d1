"""What stands in the way of systems that nobody tests on: as far as Linux can play one of them.

Windows has no fcntl, pwd, termios and so on, and fewer calls and flags in `os`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.sample_backups import take

SOURCES = Path(__file__).resolve().parents[2] / "src"

# Libraries look for the platform while they are imported; what they do on Windows is theirs to test.
AS_ON_WINDOWS = """
import asyncio, ctypes.util, getpass, hashlib, logging, os, pathlib, pkgutil, select, shutil, signal, ssl, stat
import subprocess, sys, tempfile, types, uuid
import dotenv, prompt_toolkit.shortcuts, psycopg, pygments.lexers, sqlglot, wcwidth, zstandard
try:
    import psycopg_binary
except ImportError:
    pass
import prompt_toolkit.history

for name in ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
for name in (
    "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fchmod", "fork", "geteuid", "getuid", "killpg",
    "pread", "set_blocking", "uname",
):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGQUIT"):
    delattr(signal, name)
locks = types.ModuleType("msvcrt")
locks.LK_NBLCK = 2
locks.locking = lambda descriptor, mode, size: None
sys.modules["msvcrt"] = locks
sys.platform = "win32"

import dbtool
for module in pkgutil.walk_packages(dbtool.__path__, "dbtool."):
    if not module.name.startswith(("dbtool.servers", "dbtool.rows._rows", "dbtool.__main__")):
        __import__(module.name)
from dbtool.cli.main import console_script
console_script()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS, *arguments],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCES)},
        timeout=60,
    )


def test_what_needs_no_client_program_works_without_unix(tmp_path: Path) -> None:
    backup = take(tmp_path, "mydb")
    for arguments in (("--help",), ("list",), ("verify", "latest"), ("catalog", "rebuild")):
        path = [] if arguments == ("--help",) else ["--path", str(tmp_path)]
        done = run(*arguments, *path)
        assert done.returncode == 0, done.stderr
    assert backup in run("list", "--path", str(tmp_path)).stdout


def test_a_client_program_is_refused_with_a_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("")
    done = run("doctor", "--host", "127.0.0.1", "--port", "1", "--database", "d", "--path", str(tmp_path))
    assert done.returncode == 1
    assert "nothing listens" in done.stdout
    assert "Traceback" not in done.stderr
