"""What a command runs in: the settings, the server, the repository, and who may be asked."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dbtool.console import narration
from dbtool.console.grammar import Call

if TYPE_CHECKING:
    from dbtool.catalog.repository import Resolved
    from dbtool.config.settings import Settings
    from dbtool.console.progress_view import ProgressView
    from dbtool.engines.base import Engine
    from dbtool.engines.session import Session
    from dbtool.model.connection import Connection
    from dbtool.storage.base import Store

_DEFAULT_PORTS = {"postgres": 5432, "mysql": 3306}


@dataclass
class Context:
    """One run of dbtool. `path`, `yes` and `json` are what was said for every command of it."""

    settings: Settings
    engine: str
    path: str | None = None
    yes: bool = False
    json: bool = False
    show_timing: bool = True
    expanded: bool | None = None  # None: rows become blocks where a table would not fit
    _connection: Connection | None = None
    _session: Session | None = None

    @property
    def dialect(self) -> str:
        """The dialect of SQL that is typed: "postgres" or "mysql"."""
        return self.engine

    @property
    def database(self) -> str | None:
        """The database that was named, if one was; in MySQL the one that USE chose since."""
        return self.settings.database if self._session is None else self._session.database

    @property
    def server(self) -> str:
        """The server as a person names it: `localhost:5432`."""
        host = self.settings.text("host") or self.settings.text("service") or "local"
        return f"{host}:{self.settings.text('port') or _DEFAULT_PORTS[self.engine]}"

    def connection(self, default_database: str | None = None) -> Connection:
        """How to reach the database that was named, else the default one. Raises `UsageError`."""
        if self._connection is None:
            self._connection = self.settings.connection(self.engine, self.database or default_database)
        return (
            self._connection
            if self._session is None
            else self._connection.with_database(self._session.database)
        )

    def make_engine(self) -> Engine:
        """The engine of that kind of server."""
        if self.engine == "mysql":
            from dbtool.engines.mysql.engine import MysqlEngine

            return MysqlEngine()
        from dbtool.engines.postgres.engine import PostgresEngine

        return PostgresEngine()

    def use_password(self, password: str) -> None:
        """A password that was typed in just now."""
        from dbtool import redaction

        redaction.register(password)
        self._connection = replace(self.connection(), password=password)

    def session(self) -> Session:
        """The connection for SQL, made when it is first needed. Raises `ConnectionFailedError`."""
        if self._session is None:
            self._session = self.make_engine().open_session(self.connection())
        return self._session

    def open_session(self) -> Session | None:
        """The connection for SQL, if there is one already."""
        return self._session

    def close(self) -> None:
        """End the connection."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def repository(self, call: Call) -> str:
        """Which repository a command means. Raises `UsageError` where nothing says it."""
        from dbtool.config import repository

        path = call.text("path") or self.path
        return repository.choose(path, self.settings, self.engine, self.database or "", self.server)

    def store(self, call: Call, create: bool = False) -> Store:
        """The repository a command means, opened. Raises `StorageError`, `NotFoundError`."""
        from dbtool.storage.open import open_store

        return open_store(self.repository(call), create=create)

    def resolve(self, call: Call) -> Resolved:
        """The backup that a command's operand names: by its id, as `latest`, or by its path, which
        needs no repository. Raises `NotFoundError`."""
        from dbtool.catalog.names import full_of, is_backup_id
        from dbtool.catalog.repository import Repository, resolve_path

        reference = str(call.operand)
        is_name = reference == "latest" or is_backup_id(reference)
        if full_of(reference) and not Path(reference).exists():
            is_name = True  # what stands for the id of a differential whose id nothing tells any more
        if not is_name and (os.sep in reference or Path(reference).exists()):
            return resolve_path(reference)
        return Repository(self.store(call)).resolve(reference, self.database)

    def adopt_engine(self, resolved: Resolved) -> None:
        """A backup is restored on its own kind of server, where nothing says which that is."""
        metadata = resolved.backup and resolved.backup.metadata
        if metadata and self._session is None and self.settings.text("engine") is None:
            self.engine = metadata.engine

    def remember(self, repository_path: str, database: str) -> None:
        """This repository is the one last used for that database."""
        from dbtool.config import repository

        repository.remember(repository_path, self.engine, database, self.server)

    def progress(self) -> ProgressView:
        """A new view of progress on stderr."""
        from dbtool.console.progress_view import ProgressView

        return ProgressView()

    def wants_json(self, call: Call) -> bool:
        """Whether the command is to print JSON."""
        return self.json or call.flag("json")

    def may_destroy(self, call: Call) -> bool:
        """Whether -yes was said."""
        return self.yes or call.flag("yes")

    def confirm(self, call: Call, question: str) -> None:
        """Ask before something is destroyed, unless -yes was said. Raises `RefusedError`."""
        if not self.may_destroy(call):
            narration.confirm(question, "Say -yes if it may be destroyed.")
