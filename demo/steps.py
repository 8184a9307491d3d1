"""What the stories have in common."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbtool.model.connection import Connection
    from demo.picture import Picture
    from demo.stage import Stage


class DifferenceFoundError(Exception):
    """What came back is not what went out."""


class Story:
    """A story on one kind of server, told on a stage; here are the steps that are the same for every kind."""

    engine: str  # as --db has it
    client: str  # the shell command that runs the statement that follows, in the shop

    title: str  # what runs, and where

    def __init__(self, stage: Stage, connection: Connection, programs: Path) -> None:
        self.stage = stage
        self.connection = connection  # to the shop
        self.programs = programs  # the folder of the server's client programs

    def prepare(self, folder: Path) -> dict[str, str]:
        """What the server's own client needs, in the folder and as variables of the environment."""
        raise NotImplementedError

    def load_shop(self) -> Picture:
        """Make the database `shop`; what it holds."""
        raise NotImplementedError

    def tell(self) -> str:
        """The story, step by step; the verdict. Raises `DifferenceFoundError` or `CommandFailedError`."""
        raise NotImplementedError

    def look(self, database: str) -> Picture:
        """At a database, without dbtool."""
        raise NotImplementedError

    @property
    def backup_line(self) -> str:
        """The command line that opens the console, or runs what follows it."""
        return f"dbtool backup --db {self.engine} --database shop --storage local --config file"

    def client_line(self, statement: str) -> str:
        """The shell command that runs a statement in the shop, as anybody would without dbtool."""
        return f"{self.client} {shlex.quote(statement)}"

    def describe(self, before: Picture, size: str, how: str) -> None:
        """What the shop holds, and how the picture of it was taken."""
        self.stage.say(f"{len(before.tables)} tables, {before.rows:,} rows, {size}.")
        self.stage.say(f"A picture of it was taken without dbtool, for later: {how},")
        self.stage.say("and a digest of the rows of every table by SQL.")
        self.stage.run(
            "How to reach the server stands in .env, where dbtool is started.", "grep -v PASSWORD .env"
        )

    def back_up(self, why: str) -> None:
        """One full backup."""
        self.stage.step("A full backup")
        self.stage.run(why, f"{self.backup_line} full database -path backups -label demo -method logical")

    def verify(self, why: str) -> None:
        """Read the backup back."""
        self.stage.run(why, "dbtool verify latest --path backups")

    def suffer(self, before: Picture, accidents: Sequence[tuple[str, str]]) -> None:
        """Statements that somebody should not have run, and what they did."""
        for why, statement in accidents:
            self.stage.run(why, self.client_line(statement))
        found = before.differences(self.look("shop"))
        self.stage.bad(f"{len(found)} differences from the picture, such as:")
        for line in [line for line in found if line.startswith("table")][:4]:
            self.stage.say("  " + line[:110])

    def put_back(self, before: Picture, why: str) -> None:
        """The whole database, in place of the ruined one."""
        self.stage.run(why, "dbtool restore latest --path backups --into shop --replace --yes")
        self.compare("shop", before)

    def restore_table(self, before: Picture, why: str, options: str) -> None:
        """A single table, out of the same backup."""
        self.stage.run(why, f"dbtool restore latest --path backups --into shop --tables {options}")
        self.compare("shop", before)

    def remember_a_delete(self, changes: Sequence[tuple[str, str]], accident: str) -> None:
        """A differential, and what it remembers of the rows that are gone."""
        self.stage.step("Only what changed")
        self.stage.run(
            "A full backup to build upon.", f"{self.backup_line} full database -path chain -method logical"
        )
        for why, statement in changes:
            self.stage.run(why, self.client_line(statement))
        afterwards = self.look("shop")
        self.stage.run(
            "A differential takes the rows that changed, and the keys of those that are gone.",
            f"{self.backup_line} differential backup -path chain",
        )
        self.stage.run("It lies below its full, and needs it.", "dbtool list --path chain")
        self.stage.run("Somebody does what should not be done …", self.client_line(accident))
        self.stage.run(
            "… and both are restored in one go. What was deleted before the differential stays deleted.",
            "dbtool restore latest --path chain --into shop --replace --yes",
        )
        self.compare("shop", afterwards)

    def compare(self, database: str, before: Picture) -> None:
        """Say whether the database is what it was; `DifferenceFoundError` if it is not."""
        after = self.look(database)
        found = before.differences(after)
        if found:
            for line in found[:20]:
                self.stage.bad(line[:200])
            raise DifferenceFoundError(
                f"the database {database} is not what it was: {len(found)} differences"
            )
        parts = ["schema", f"{after.rows:,} rows"]
        parts += ["sequences"] if after.sequences else []
        parts += ["large objects"] if after.large_objects else []
        self.stage.good(f"{database} is what it was: {', '.join(parts)}")


def private_file(path: Path, content: str) -> None:
    """A file with secrets in it."""
    path.touch(mode=0o600)
    path.write_text(content)
