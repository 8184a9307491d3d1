"""Run the demo: `make demo`, or `python -m demo [--only postgres|mariadb] [--keep]`."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from dbtool.errors import DbtoolError, NotFoundError
from demo.stage import CommandFailedError, Stage
from demo.steps import DifferenceFoundError, Story, private_file
from demo.story_mariadb import MariadbStory
from demo.story_postgres import PostgresStory

STORIES: dict[str, Callable[[Stage], AbstractContextManager[Story]]] = {
    "postgres": PostgresStory.begin,
    "mariadb": MariadbStory.begin,
}


def main() -> int:
    """The demo from the first step to the verdict; 0 if a story was told, and all that were end well."""
    parser = argparse.ArgumentParser(prog="demo", description="dbtool shown on database servers of its own")
    parser.add_argument("--only", choices=STORIES, help="tell one of the stories (default: both)")
    parser.add_argument("--keep", action="store_true", help="leave the backups and exports where they are")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dbtool-demo-"))
    try:
        succeeded = perform(folder, [options.only] if options.only else list(STORIES))
    except KeyboardInterrupt:
        return 130
    except DbtoolError as error:
        sys.stderr.write(f"{error.message}\n{error.hint or ''}\n")
        return 1
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if options.keep:
        sys.stdout.write(f"   What it made is in {folder}; its servers are gone.\n")
    else:
        sys.stdout.write("   Its servers and files are gone; make demo DEMO_ARGS=--keep leaves the files.\n")
    return 0 if succeeded else 1


def perform(folder: Path, names: Sequence[str]) -> bool:
    """Tell the stories, say the verdicts; whether there are any, and all are good."""
    begun = time.monotonic()
    stage = Stage()
    told: list[bool] = []
    left_out: list[NotFoundError] = []
    for name in names:
        (folder / name).mkdir()
        try:
            told.append(tell(stage, name, folder / name))
        except NotFoundError as error:
            left_out.append(error)
    for missing in left_out:
        stage.say(f"Not shown: {missing.message}; {missing.hint}.")
    stage.say(f"The demo took {time.monotonic() - begun:.0f} seconds.")
    return bool(told) and all(told)


def tell(stage: Stage, name: str, folder: Path) -> bool:
    """One story on a server of its own; whether it ends well. `NotFoundError` without server programs."""
    with STORIES[name](stage) as story:
        programs = prepare(folder, story)
        path = os.pathsep.join([str(programs), str(story.programs), os.environ.get("PATH", os.defpath)])
        stage.enter(
            f"{story.title}, for this demo alone",
            folder,
            {**story.prepare(folder), "HOME": str(folder), "PATH": path},
        )
        try:
            verdict = story.tell()
        except (CommandFailedError, DifferenceFoundError) as error:
            stage.bad(f"The demo failed: {error}")
            return False
        stage.step("The verdict")
        stage.good(verdict)
        return True


def prepare(folder: Path, story: Story) -> Path:
    """The settings as a file in the folder; where the commands find dbtool."""
    here = story.connection
    password = f"DB_PASSWORD={here.password}\n" if here.password else ""
    private_file(
        folder / ".env",
        f"DB_HOST={here.host}\nDB_PORT={here.port}\nDB_USER={here.user}\n{password}DB_NAME=shop\n",
    )
    programs = folder / "bin"
    programs.mkdir()
    (programs / "dbtool").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m dbtool "$@"\n')
    (programs / "dbtool").chmod(0o755)
    return programs


if __name__ == "__main__":
    sys.exit(main())
