"""The database that the server's own regression tests leave behind, taken there and back.

`python -m tests.fidelity.regression [MAJOR]` fetches the sources of that PostgreSQL through apt (only the
source package's archive; nothing is installed), feeds the tests' SQL to a throw-away server in
the order of their schedule, and compares what dbtool brings over with what `pg_dump | psql` does.
That some tests fail is of no importance here: only what they leave behind is.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import CARELESS_SETTINGS
from tests.fidelity.building import create_database, native_copy
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import connection_string, difference, program, take_picture

from dbtool.errors import NotFoundError
from dbtool.model.connection import Connection
from dbtool.servers import base
from dbtool.servers.postgres import PostgresServer, find_server_bin

# Which of Debian's suites has the source package of which version.
SUITES = {13: "bullseye", 15: "bookworm", 17: "trixie", 18: "forky"}
SYSTEM_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
CACHE_VARIABLE = "DBTOOL_TEST_SOURCES"
DATABASE = "regression"
CONTENTS = ("schema", "storage", "tables", "sequences", "large_objects", "materialized_views")


def fetch_sources(major: int) -> Path:
    """The folder with the regression tests of that version, fetched once; those of the next older one where
    the mirror has lost them, which happens. `NotFoundError` if none can be had."""
    cache = Path(os.environ.get(CACHE_VARIABLE) or Path(tempfile.gettempdir()) / "dbtool-test-sources")
    for version in sorted((one for one in SUITES if one <= major), reverse=True):
        tests = cache / str(version) / "regress"
        with contextlib.suppress(NotFoundError):
            if not tests.exists():
                _extract(_download(version, cache / str(version) / "apt"), tests)
            return tests
    raise NotFoundError(f"the sources of PostgreSQL {major} were not found")


def _download(major: int, folder: Path) -> Path:
    if not SYSTEM_SOURCES.exists():
        raise NotFoundError(
            f"the sources of PostgreSQL {major} cannot be fetched here", "this needs Debian and its apt"
        )
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    sources = folder / "own.sources"
    sources.write_text(_source_entries(SYSTEM_SOURCES.read_text(), SUITES[major]))
    options = [
        *("-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-"),
        *("-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"),
        *("-o", "APT::Sandbox::User=root", "-qq"),
    ]
    _run(["apt-get", *options, "update"], folder)
    listed = _run(["apt-cache", *options, "showsrc", f"postgresql-{major}"], folder).stdout
    # The newest is not always to be had from every mirror; any is good.
    for version in sorted(set(re.findall(r"^Version: (\S+)", listed, re.MULTILINE)), reverse=True):
        _run(["apt-get", *options, "source", "--download-only", f"postgresql-{major}={version}"], folder)
        if found := sorted(folder.glob("*.orig.tar.*")):
            return found[-1]
    raise NotFoundError(f"the sources of PostgreSQL {major} were not found", "is the network there?")


def _source_entries(text: str, suite: str) -> str:
    """The system's own mirrors, for source packages of another suite."""
    entries = []
    for entry in re.split(r"\n\s*\n", text):
        is_security = "-security" in entry
        changed = re.sub(r"^Types:.*", "Types: deb-src", entry, flags=re.MULTILINE)
        wanted = f"{suite}-security" if is_security else suite
        entries.append(re.sub(r"^Suites:.*", f"Suites: {wanted}", changed, flags=re.MULTILINE))
    return "\n\n".join(entries) + "\n"


def _extract(archive: Path, tests: Path) -> None:
    with tarfile.open(archive) as tar, tempfile.TemporaryDirectory(dir=tests.parent) as folder:
        wanted = [
            member
            for member in tar.getmembers()
            if "/src/test/regress/" in member.name and not member.issym()
        ]
        for member in wanted:
            tar.extract(member, folder, filter="data")
        found = next(Path(folder).glob("*/src/test/regress"))
        found.rename(tests)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def leave_behind(server: PostgresServer, tests: Path) -> Connection:
    """Run the tests as the server's own runner would, one after another; what they leave is the result."""
    work = base.scratch().folder()
    base.run_tool(["cp", "-r", *(tests / name for name in ("sql", "data", "expected")), work], work)
    for name in ("results", "testtablespace"):
        (work / name).mkdir()
        base.give_away(work / name)
    templates = [path for folder in ("input",) for path in (tests / folder).glob("*.source")]
    for template in templates:
        (work / "sql" / f"{template.stem}.sql").write_text(_filled(template.read_text(), work))
    create_database(server.connection(), DATABASE, "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    connection = server.connection(DATABASE)
    environment = {
        **os.environ,
        "PG_ABS_SRCDIR": str(work),
        "PG_ABS_BUILDDIR": str(work),
        "PG_LIBDIR": str(work),
        "PG_DLSUFFIX": ".so",
        "PGTZ": "PST8PDT",
        "PGDATESTYLE": "Postgres, MDY",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
    }
    command = [
        *(program(server.bin_directory, "psql"), "-X", "-q", "-v", "HIDE_TABLEAM=on"),
        *("-v", "HIDE_TOAST_COMPRESSION=on", "-d", connection_string(connection)),
    ]
    for test in _schedule(tests):
        script = work / "sql" / f"{test}.sql"
        if script.exists():
            with script.open("rb") as text:
                subprocess.run(
                    command, stdin=text, capture_output=True, env=environment, cwd=work, check=False
                )
    return connection


def _filled(template: str, work: Path) -> str:
    for name in ("abs_srcdir", "abs_builddir", "libdir"):
        template = template.replace(f"@{name}@", str(work))
    return template.replace("@testtablespace@", str(work / "testtablespace")).replace("@DLSUFFIX@", ".so")


def _schedule(tests: Path) -> Iterator[str]:
    for line in (tests / "parallel_schedule").read_text().splitlines():
        kind, _, names = line.partition(":")
        if kind.strip() == "test":
            yield from names.split()


def compare(major: int, folder: Path) -> list[str]:
    """The whole way; what differs between dbtool's copy and the native one."""
    tests = fetch_sources(major)
    settings = {**CARELESS_SETTINGS, "max_prepared_transactions": "0"}
    with PostgresServer.start(find_server_bin(major), settings) as server:
        programs = server.bin_directory
        source = leave_behind(server, tests)
        native, copy = server.connection("native"), server.connection("copy")
        create_database(source, native.database)
        native_copy(source, native, programs)
        dbtool = Dbtool(folder / "repository", programs)
        metadata = dbtool.backup(source)
        dbtool.restore(metadata["id"], copy)
        expected, found = take_picture(native, programs), take_picture(copy, programs)
        print(
            f"PostgreSQL {server.version}: {sum(expected.schema.values())} objects,"
            f" {len(expected.tables)} tables, {metadata['statistics']['total_rows_processed']} rows"
        )
        return difference(expected, found, CONTENTS)


def main() -> int:
    """Compare for the versions named on the command line, or for 15; 1 where something differs."""
    differs = False
    for major in [int(word) for word in sys.argv[1:]] or [15]:
        with tempfile.TemporaryDirectory() as folder:
            lines = compare(major, Path(folder))
        print("\n".join(lines) or "identical")
        differs = differs or bool(lines)
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
