"""Run the demo: `make demo`, or `python -m demo [--keep]`. The story itself is in `story.py`."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

from dbtool.errors import DbtoolError
from dbtool.servers.postgres import PostgresServer
from demo.stage import CommandFailedError, Stage
from demo.story import DifferenceFoundError, tell

SETTINGS = {"fsync": "off", "shared_buffers": "128MB", "max_wal_size": "2GB", "log_min_messages": "fatal"}


def main() -> int:
    """The demo from the first step to the verdict; 0 if everything came back."""
    parser = argparse.ArgumentParser(prog="demo", description="dbtool shown on a PostgreSQL of its own")
    parser.add_argument("--keep", action="store_true", help="leave the backups and exports where they are")
    keep: bool = parser.parse_args().keep
    folder = Path(tempfile.mkdtemp(prefix="dbtool-demo-"))
    try:
        succeeded = perform(folder)
    except KeyboardInterrupt:
        return 130
    except DbtoolError as error:
        sys.stderr.write(f"{error.message}\n{error.hint or ''}\n")
        return 1
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if keep:
        sys.stdout.write(f"   What it made is in {folder}; its PostgreSQL is gone.\n")
    else:
        sys.stdout.write(
            "   Its PostgreSQL and its files are gone; make demo DEMO_ARGS=--keep leaves the files.\n"
        )
    return 0 if succeeded else 1


def perform(folder: Path) -> bool:
    """Start a server, tell the story, say the verdict; whether it is a good one."""
    begun = time.monotonic()
    with PostgresServer.start(settings=SETTINGS, authentication="scram-sha-256") as server:
        stage = Stage(folder, prepare(folder, server))
        try:
            verdict = tell(stage, server)
        except (CommandFailedError, DifferenceFoundError) as error:
            stage.step("The verdict")
            stage.bad(f"The demo failed: {error}")
            return False
        stage.step("The verdict")
        stage.good(verdict)
        stage.say(f"The demo took {time.monotonic() - begun:.0f} seconds.")
        return True


def prepare(folder: Path, server: PostgresServer) -> dict[str, str]:
    """Settings and passwords as files in the folder; the environment that its commands run in."""
    here = server.connection("shop")
    private_file(
        folder / ".env",
        f"DB_HOST={here.host}\nDB_PORT={here.port}\nDB_USER={here.user}\n"
        f"DB_PASSWORD={here.password}\nDB_NAME=shop\n",
    )
    private_file(folder / ".pgpass", f"*:*:*:*:{here.password}\n")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "dbtool").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m dbtool "$@"\n')
    (programs / "dbtool").chmod(0o755)
    return {
        "PATH": os.pathsep.join(
            [str(programs), str(server.bin_directory), os.environ.get("PATH", os.defpath)]
        ),
        "HOME": str(folder),
        "PGHOST": str(here.host),
        "PGPORT": str(here.port),
        "PGUSER": str(here.user),
        "PGPASSFILE": str(folder / ".pgpass"),
        "PGOPTIONS": "-c client_min_messages=warning",
    }


def private_file(path: Path, content: str) -> None:
    """A file with secrets in it."""
    path.touch(mode=0o600)
    path.write_text(content)


if __name__ == "__main__":
    sys.exit(main())
