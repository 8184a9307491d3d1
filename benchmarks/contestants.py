"""dbtool by its own command line, as it stands beside the native tools of either engine."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import Program

JOBS = 2
_SOURCES = Path(__file__).resolve().parents[1] / "src"
_FOREIGN = ("PG", "MYSQL", "MARIADB", "DB_", "BACKUP_", "DBTOOL_")


def environment(home: Path) -> dict[str, str]:
    """An environment without anybody's settings for databases or dbtool, and a home without any."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    kept["PYTHONPATH"] = os.pathsep.join([str(_SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept["HOME"] = str(home)
    return kept


def dbtool(variables: Mapping[str, str], *arguments: str) -> Program:
    """dbtool with these arguments, through the command that its installation made if there is one."""
    script = Path(sys.executable).with_name("dbtool")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "dbtool"]
    return Program("dbtool", [*start, *arguments], variables)


class Contestants:
    """Makes the programs for one server; what they write goes below one folder."""

    engine: str  # as dbtool's --db has it

    def __init__(self, folder: Path, level: int, connection: tuple[str, ...]) -> None:
        self.folder = folder
        self.level = level
        self.environment = environment(folder)
        self._connection = connection

    def backup(
        self,
        database: str,
        level: int | None = None,
        connection: tuple[str, ...] | None = None,
        repository: Path | None = None,
    ) -> Program:
        """A full backup into the repository of that database, which is emptied for it."""
        repository = repository or self.repository(database)
        shutil.rmtree(repository, ignore_errors=True)
        words = ["full", "database", "-path", str(repository), "-method", "logical"]
        return self._take(database, connection, *words, "-level", str(level or self.level))

    def differential(self, database: str) -> Program:
        """A differential on the full that lies in the repository of that database."""
        words = ["differential", "backup", "-path", str(self.repository(database))]
        words += ["-max-differentials", "1000", "-max-differential-ratio", "100"]
        return self._take(database, None, *words, "-level", str(self.level))

    def _take(self, database: str, connection: tuple[str, ...] | None, *action: str) -> Program:
        words = ["backup", "--db", self.engine, "--database", database]
        words += ["--storage", "local", "--config", "manual", *(connection or self._connection)]
        return dbtool(self.environment, *words, *action, "-json", "-jobs", str(JOBS))

    def restore(self, database: str, into: str, *, compare: bool = True) -> Program:
        """The latest backup of a database into a new one."""
        words = ["restore", "latest", "--path", str(self.repository(database)), "--into", into]
        words += ["--jobs", str(JOBS), "--json", *self._connection]
        return dbtool(self.environment, *words, *([] if compare else ["--no-compare"]))

    def repository(self, database: str) -> Path:
        """Where dbtool keeps the backups of one database here."""
        return self.folder / f"repository_{database}"

    def script_file(self, database: str) -> Path:
        """The native dump of a database, compressed."""
        return self.folder / f"{database}.sql.zst"


def backup_bytes(output: str) -> int:
    """The size of the archive that a backup's JSON tells of."""
    return int(json.loads(output)["statistics"]["total_size_bytes"])


def folder_bytes(folder: Path) -> int:
    """The size of the files in a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())
