"""The script around schema and rows: its head, its foot, how objects gather into frames, and how
statements stand in it.

What a session needs is said again wherever another kind of frame begins, so that a frame can be run
by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from dbtool import __version__
from dbtool.engines.lexical import is_complete, split
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.model.archive import Block, FrameKind, SchemaObject

# No engine in another's place; ids of 0 and dates with zeros, or of the 31st of February, as they are.
SQL_MODE = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"
_MODE_AND_ZONE = f"SET SESSION sql_mode = '{SQL_MODE}', time_zone = '+00:00';\n"
SCHEMA_SETTINGS = f"SET NAMES utf8mb4;\n{_MODE_AND_ZONE}"
ROW_SETTINGS = f"SET NAMES binary;\n{_MODE_AND_ZONE}"

_GROUP_BYTES = 1 << 20
_SAVED = (
    "sql_mode",
    "time_zone",
    "foreign_key_checks",
    "character_set_client",
    "character_set_results",
    "collation_connection",
)
_CLIENT_LINE = re.compile(r"^(?:DELIMITER (\S+)|\\C \w+)\n", re.MULTILINE)
# Character sets in which a byte of a letter may be a backslash: the client programs must know them to
# see where a string ends.
_TREACHEROUS = frozenset({"big5", "cp932", "gb18030", "gbk", "sjis"})
_LETTER_WITH_BACKSLASH = re.compile(r"[\x80-\U0010ffff]\\")


# ---- head and foot ---------------------------------------------------------------------------------


def header(database: str, server: str, has_keyless_tables: bool, has_history: bool, guard: str = "") -> Block:
    """The session's settings; what they were before is kept for the foot.

    What only one flavour has stands in comments that the other does not run. Some of it an account
    may not set: then it is left alone where it is as it should be already. `guard` is a statement that
    ends the script where it must not run.
    """
    name = quote_identifier(database).replace("\n", " ").replace("\r", " ")
    saved = ", ".join(f"@dbtool_{setting} = @@SESSION.{setting}" for setting in _SAVED)
    text = (
        f"-- dbtool {__version__}: logical backup of the {server} database {name}\n\n"
        f"{guard}"
        f"SET {saved};\n"
        f"{SCHEMA_SETTINGS}"
        "SET SESSION foreign_key_checks = 0;\n"
        "/*M! SET @dbtool_check_constraint_checks = @@SESSION.check_constraint_checks,"
        " SESSION check_constraint_checks = 0 */;\n"
    )
    if has_keyless_tables:
        text += _switched_off("80013", "sql_require_primary_key")
        text += _switched_off("80030", "sql_generate_invisible_primary_key")
    text += _switched_off("80400", "restrict_fk_on_non_standard_key")
    if has_history:
        text += (
            "/*M!101100 SET @dbtool_insert_history = @@SESSION.system_versioning_insert_history,"
            " SESSION system_versioning_insert_history = 1 */;\n"
        )
    return Block(kind=FrameKind.HEADER, text=(text + "\n").encode("utf-8", "surrogateescape"))


def _switched_off(version: str, variable: str) -> str:
    """MySQL's: set only where it is on, for that takes a right of its own."""
    change = f"'SET SESSION {variable} = OFF'"
    return (
        f"/*!{version} SET @dbtool_sql = IF(@@SESSION.{variable}, {change}, 'DO 0') */;\n"
        f"/*!{version} PREPARE dbtool_statement FROM @dbtool_sql */;\n"
        f"/*!{version} EXECUTE dbtool_statement */;\n"
        f"/*!{version} DEALLOCATE PREPARE dbtool_statement */;\n"
    )


def footer(has_history: bool) -> Block:
    """The script's last words; who sees them knows that it is whole."""
    restored = ", ".join(f"SESSION {setting} = @dbtool_{setting}" for setting in _SAVED)
    text = "/*M! SET SESSION check_constraint_checks = @dbtool_check_constraint_checks */;\n"
    if has_history:
        text += "/*M!101100 SET SESSION system_versioning_insert_history = @dbtool_insert_history */;\n"
    text += f"SET {restored};\n-- dbtool: the backup is complete\n"
    return Block(kind=FrameKind.FOOTER, text=text.encode())


# ---- objects in frames -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """An object of the schema and its SQL: complete statements, as the client programs take them."""

    item: SchemaObject
    text: str
    kind: FrameKind


def blocks(parts: Iterable[Part], kind: FrameKind) -> Iterator[Block]:
    """The parts of one kind as blocks of about 1 MiB, each part's place in it noted."""
    pieces: list[bytes] = []
    objects: list[SchemaObject] = []
    size = 0
    for part in parts:
        if part.kind is not kind:
            continue
        if not pieces:
            pieces.append(SCHEMA_SETTINGS.encode() + b"\n")
            size = len(pieces[0])
        data = part.text.encode("utf-8", "surrogateescape")
        objects.append(replace(part.item, offset=size, length=len(data), owner_offset=len(data)))
        pieces += (data, b"\n")
        size += len(data) + 1
        if size >= _GROUP_BYTES:
            yield Block(kind=kind, text=b"".join(pieces), objects=tuple(objects))
            pieces, objects = [], []
    if pieces:
        yield Block(kind=kind, text=b"".join(pieces), objects=tuple(objects))


# ---- statements ------------------------------------------------------------------------------------


def delimited(statement: str, charset: str = "utf8mb4") -> str:
    """A statement with semicolons inside, as the client programs take it. `charset` is the one that
    its bytes are in."""
    delimiter = ";;"
    while delimiter in statement:
        delimiter += ";"
    # A body that ends in a semicolon, or in a comment, must not run into the delimiter.
    text = f"DELIMITER {delimiter}\n{statement}\n{delimiter}\nDELIMITER ;\n"
    if is_treacherous(statement, charset):
        # The long name of this command is none to clients in binary mode, and a semicolon would be sent.
        return f"\\C {charset}\n{text}\\C utf8mb4\n"
    return text


def is_treacherous(statement: str, charset: str) -> bool:
    """Whether client programs would take a part of a letter for a backslash."""
    return charset in _TREACHEROUS and bool(_LETTER_WITH_BACKSLASH.search(statement))


def statements_of(sql: str) -> list[str]:
    """The statements of an object's SQL, as a driver runs them one by one: without delimiters.

    Raises ValueError where a delimited statement has no end.
    """
    found: list[str] = []
    position = 0
    while position < len(sql):
        line = _CLIENT_LINE.search(sql, position)
        while line and not is_complete(sql[position : line.start()], "mysql"):  # it stands in a name
            line = _CLIENT_LINE.search(sql, line.end())
        end = line.start() if line else len(sql)
        found += [statement.text for statement in split(sql[position:end], "mysql")]
        position = line.end() if line else end
        if line and line[1]:
            ending = f"\n{line[1]}\nDELIMITER ;\n"
            end = sql.find(ending, position)
            if end < 0:
                raise ValueError("a delimited statement has no end")
            found.append(sql[position:end])
            position = end + len(ending)
    return found


def own_numbers() -> Callable[[], int]:
    """Numbers for schema objects, one after the other."""
    numbers = iter(range(1, 1 << 60))
    return lambda: next(numbers)
