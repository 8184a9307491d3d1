"""Small queries of the catalogue, on a connection whose text is utf8mb4."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]


def rows_of(session: Session, sql: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
    """All rows of a query. Raises what the driver raises."""
    with session.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def value_of(session: Session, sql: str, parameters: Sequence[Any] | None = None) -> Any:
    """The first column of the first row; None where there is no row."""
    found = rows_of(session, sql, parameters)
    return found[0][0] if found else None


def named_rows(session: Session, sql: str) -> list[dict[str, Any]]:
    """All rows, each by the lower-case names of its columns: for SHOW, whose columns differ."""
    with session.cursor() as cursor:
        cursor.execute(sql)
        names = [str(column[0]).lower() for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def warnings_of(session: Session) -> list[tuple[int, str]]:
    """(number, message) of what the server remarked on the last statement."""
    return [(int(number), _text(message)) for _, number, message in rows_of(session, "SHOW WARNINGS")]


@contextmanager
def stored_text(session: Session) -> Iterator[None]:
    """Inside, all values come as the bytes that the server sends, text in whatever character set it is stored."""
    driver: Any = session
    session.query("SET SESSION character_set_results = NULL")
    decoders, driver.decoders, driver.use_unicode = driver.decoders, {}, False
    try:
        yield
    finally:
        driver.decoders, driver.use_unicode = decoders, True
        if session.open:
            session.query("SET SESSION character_set_results = utf8mb4")


def variables(session: Session, *names: str, scope: str = "GLOBAL") -> dict[str, str]:
    """Those of the server's variables that it has, by their lower-case names."""
    marks = ", ".join(["%s"] * len(names))
    found = rows_of(session, f"SHOW {scope} VARIABLES WHERE Variable_name IN ({marks})", names)
    return {str(name).lower(): str(value) for name, value in found}


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
