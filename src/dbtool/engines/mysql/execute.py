"""Making schema objects: running their SQL statement by statement, and saying what could not be made."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql import bulk
from dbtool.engines.mysql.after import statements_of
from dbtool.engines.mysql.definers import Definers, has_definer, without_definer
from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.foreign import Translation
from dbtool.engines.mysql.messages import explain, is_lost, number_of, text_of
from dbtool.errors import BusyError, DbtoolError, InterruptedByUserError, SqlError
from dbtool.model.archive import SchemaObject
from dbtool.text import printable

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]

# Beyond what load_session_settings says, which keeps ids of 0: dates as they are, and no other engine
# than the one that was asked for.
SQL_MODE = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"
_BASE = (
    "SET NAMES utf8mb4",
    f"SET SESSION sql_mode = '{SQL_MODE}', time_zone = '+00:00', foreign_key_checks = 0",
)

_SHOWN_STATEMENT_CHARACTERS = 300
_SHOWN_OBJECTS = 10
_MOST_ATTEMPTS = 6
_DEADLOCK = 1213
_LOCK_WAIT_TIMEOUT = 1205

_NO_SUCH_DEFINER = 1449
# Warnings that mean that something else was made than what was asked for.
_CHANGED_MEANING = {
    1071: "its key was cut short",
    1246: "a column was given another type",
    1266: "it was given another storage engine",
}

_ENABLES = re.compile(r"\s*ALTER\s+EVENT\b", re.IGNORECASE)

_DEFINER_ADVICE = (
    "the account may not make objects for other definers: restore with --no-owner, map them with --definer, or "
    "GRANT {} ON *.* TO the account"
)
_FUNCTION_ADVICE = "SET GLOBAL log_bin_trust_function_creators = 1, or restore as an account with SUPER"
_ADVICE = {
    1419: _FUNCTION_ADVICE,
    1418: _FUNCTION_ADVICE,
    1286: "the server does not have this storage engine",
    1273: "the server does not know this collation: restore on a newer version",
    1115: "the server does not know this character set",
    1064: "this server does not understand it: was it backed up from another kind or version?",
    1193: "this server does not know the setting: was it backed up from another kind or version?",
    1231: "this server does not know the value: was it backed up from another kind or version?",
}
_DEFINER_DENIED = 1227


def without_enabling(statements: Iterable[str]) -> tuple[str, ...]:
    """Without those that let an event run."""
    return tuple(statement for statement in statements if not _ENABLES.match(without_definer(statement)))


def called(item: SchemaObject) -> str:
    """What a person calls an object; nothing in the archive names its database."""
    return printable(item.name)


def what_of(item: SchemaObject) -> str:
    """An object with its kind."""
    return f"{item.kind} {called(item)}"


class MissingDefiners:
    """Who is not there, and what says that it is theirs. May be added to from several threads."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, None]] = {}

    def add(self, message: str, what: str) -> None:
        """The server's remark on an object."""
        self._found.setdefault(message, {})[what] = None

    def notes(self) -> list[str]:
        """What a person must know of it."""
        return [
            f"{message}; kept as they were, these fail until it does: {_listed(list(objects))}"
            for message, objects in self._found.items()
        ]


def _listed(objects: Sequence[str]) -> str:
    more = len(objects) - _SHOWN_OBJECTS
    return ", ".join(objects[:_SHOWN_OBJECTS]) + (f" and {more} more" if more > 0 else "")


class Executor:
    """Runs the SQL of objects on one session, which is set anew for each that changes its settings."""

    def __init__(
        self,
        session: Session,
        translation: Translation,
        definers: Definers,
        missing_definers: MissingDefiners,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._session = session
        self._translation = translation
        self._definers = definers
        self._missing_definers = missing_definers
        self._stopped = stopped
        self._is_changed = True

    @property
    def flavour(self) -> Flavour:
        """The server's."""
        return self._translation.target

    def statements(self, sql: str) -> tuple[str, ...]:
        """What is run for an object of the archive: its statements, as this server takes them."""
        found = self._translation.of(statements_of(sql))
        return tuple(self._definers.of(statement) for statement in found)

    def make(self, item: SchemaObject, sql: str) -> None:
        """Make an object of the archive. `SqlError` names it, and the statement."""
        self.run(what_of(item), self.statements(sql))

    def run(self, what: str, statements: Sequence[str], doing: str = "could not be made") -> None:
        """Run statements about one thing, in order."""
        if self._is_changed:
            self._base_settings()
        try:
            for statement in statements:
                self._run_one(what, statement, doing)
        finally:
            # Whoever else uses the session finds it as it was, an sql_mode of ANSI_QUOTES gone.
            if self._is_changed:
                with contextlib.suppress(Exception):
                    self._base_settings()

    def forget_settings(self) -> None:
        """Somebody else has changed the session's settings."""
        self._is_changed = True

    def _base_settings(self) -> None:
        for statement in _BASE:
            self._run_one("the session", statement, "could not be set")
        self._is_changed = False

    def _run_one(self, what: str, statement: str, doing: str) -> None:
        import pymysql

        if _sets(statement):
            self._is_changed = True
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            try:
                _, warnings = bulk.execute_raw(self._session, statement.encode("utf-8", "surrogateescape"))
            except pymysql.MySQLError as error:
                if self._stopped():
                    raise InterruptedByUserError("stopped") from None
                if number_of(error) == _DEADLOCK and attempt < _MOST_ATTEMPTS:
                    time.sleep(0.1 * attempt)
                    continue
                raise self._error(what, statement, doing, error) from None
            if warnings:
                self._look_at_warnings(what, statement)
            return

    def _error(self, what: str, statement: str, doing: str, error: Exception) -> DbtoolError:
        if is_lost(error):
            return explain(error, f"{what} was made")
        number = number_of(error)
        if number == _LOCK_WAIT_TIMEOUT:
            return BusyError(
                f"{what} {doing}: somebody's transaction holds its table",
                "end it, or wait for it, and restore again",
            )
        advice = _ADVICE.get(number)
        if number == _DEFINER_DENIED and has_definer(statement):
            right = "SET USER" if self._translation.target.is_mariadb else "SET_ANY_DEFINER, SYSTEM_USER"
            advice = _DEFINER_ADVICE.format(right)
        advice = advice or explain(error, what).hint
        return SqlError(
            f"{what} {doing}: {text_of(error)}",
            f"{advice + '; ' if advice else ''}the statement: {shown(statement)}",
        )

    def _look_at_warnings(self, what: str, statement: str) -> None:
        for _, number, message in warnings_of(self._session):
            if number == _NO_SUCH_DEFINER:
                self._missing_definers.add(message, what)
            elif number in _CHANGED_MEANING:
                raise SqlError(
                    f"{what} would not be what it was: {_CHANGED_MEANING[number]} ({message})",
                    f"the statement: {shown(statement)}",
                )


def _sets(statement: str) -> bool:
    return statement.lstrip()[:4].upper() in ("SET ", "SET\n", "USE ")


def shown(statement: str) -> str:
    """A statement as an error shows it: one line, and not too long."""
    text = printable(" ".join(statement.split()))
    return text if len(text) <= _SHOWN_STATEMENT_CHARACTERS else text[:_SHOWN_STATEMENT_CHARACTERS] + "…"


def warnings_of(session: Session) -> list[tuple[str, int, str]]:
    """(level, number, message) of what the server remarked on the last statement, whatever character
    set the session speaks."""
    driver: Any = session
    driver.use_unicode = False
    try:
        with session.cursor() as cursor:
            cursor.execute("SHOW WARNINGS")
            rows: Iterable[Any] = cursor.fetchall()
    finally:
        driver.use_unicode = True
    return [(_text(level), int(number), printable(_text(message))) for level, number, message in rows]


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
