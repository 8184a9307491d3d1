"""SQL of one flavour or version, said to another: collations and modes that only the source knows.

Only names are replaced, never what they stand for in a string; whatever else a server does not know is its
own error, which names the object.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dbtool.engines.lexical import Kind, tokens
from dbtool.engines.mysql.flavour import Flavour

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]

_COLLATION = re.compile(r"\butf8mb4_\w+|\butf8mb3_\w+|\butf8_\w+|\buca1400_\w+")
_MODES = re.compile(r"(\bsql_mode\s*=\s*)'([A-Za-z_,]*)'", re.IGNORECASE)

# What stands nearest to a collation of the other flavour: same strength, a newer or older Unicode.
_NEAREST = (
    (re.compile(r"^utf8mb4_0900_bin$"), ("utf8mb4_nopad_bin", "utf8mb4_bin")),
    (re.compile(r"^utf8mb4_0900_as_cs$"), ("utf8mb4_uca1400_nopad_as_cs", "utf8mb4_bin")),
    (re.compile(r"^utf8mb4_0900_as_ci$"), ("utf8mb4_uca1400_nopad_as_ci", "utf8mb4_unicode_520_nopad_ci")),
    (
        re.compile(r"^utf8mb4_(?:\w+_)?0900_ai_ci$"),
        ("utf8mb4_uca1400_nopad_ai_ci", "utf8mb4_unicode_520_nopad_ci"),
    ),
    (re.compile(r"^utf8mb4_\w*0900_as_cs$"), ("utf8mb4_uca1400_nopad_as_cs", "utf8mb4_bin")),
    (re.compile(r"^(?:utf8mb4_)?uca1400_\w*ai_ci$"), ("utf8mb4_0900_ai_ci", "utf8mb4_unicode_520_ci")),
    (re.compile(r"^(?:utf8mb4_)?uca1400_\w*as_ci$"), ("utf8mb4_0900_as_ci", "utf8mb4_unicode_520_ci")),
    (re.compile(r"^(?:utf8mb4_)?uca1400_\w*as_cs$"), ("utf8mb4_0900_as_cs", "utf8mb4_bin")),
    (re.compile(r"^utf8mb3_uca1400_\w*"), ("utf8mb3_unicode_520_ci", "utf8mb3_unicode_ci")),
    (re.compile(r"^(utf8mb[34])_(\w+)_nopad_ci$"), ("utf8mb4_0900_ai_ci",)),
    (re.compile(r"^utf8mb4_(?:nopad_)bin$"), ("utf8mb4_0900_bin", "utf8mb4_bin")),
    (re.compile(r"^utf8mb3_(\w+)$"), (r"utf8_\1",)),
)

_MODES_OF_BOTH = frozenset(
    [
        "ALLOW_INVALID_DATES",
        "ANSI",
        "ANSI_QUOTES",
        "ERROR_FOR_DIVISION_BY_ZERO",
        "HIGH_NOT_PRECEDENCE",
        "IGNORE_SPACE",
        "NO_AUTO_VALUE_ON_ZERO",
        "NO_BACKSLASH_ESCAPES",
        "NO_DIR_IN_CREATE",
        "NO_ENGINE_SUBSTITUTION",
        "NO_UNSIGNED_SUBTRACTION",
        "NO_ZERO_DATE",
        "NO_ZERO_IN_DATE",
        "ONLY_FULL_GROUP_BY",
        "PAD_CHAR_TO_FULL_LENGTH",
        "PIPES_AS_CONCAT",
        "REAL_AS_FLOAT",
        "STRICT_ALL_TABLES",
        "STRICT_TRANS_TABLES",
        "TRADITIONAL",
    ]
)
_MODES_OF_MARIADB = frozenset(
    [
        "DB2",
        "EMPTY_STRING_IS_NULL",
        "MAXDB",
        "MSSQL",
        "MYSQL323",
        "MYSQL40",
        "NO_AUTO_CREATE_USER",
        "NO_FIELD_OPTIONS",
        "NO_KEY_OPTIONS",
        "NO_TABLE_OPTIONS",
        "ORACLE",
        "POSTGRESQL",
        "SIMULTANEOUS_ASSIGNMENT",
        "TIME_ROUND_FRACTIONAL",
    ]
)
_MODES_OF_MYSQL = frozenset({"TIME_TRUNCATE_FRACTIONAL"})


class Translation:
    """From the flavour and version that a backup came from to those of the server."""

    def __init__(self, target: Flavour, collations: frozenset[str]) -> None:
        """`collations` are those that the server knows."""
        self.target = target
        self.replaced: dict[str, str] = {}  # collations that were, by those that stand in for them
        self._collations = collations
        self._modes = _MODES_OF_BOTH | (_MODES_OF_MARIADB if target.is_mariadb else _MODES_OF_MYSQL)

    def of(self, statements: Iterable[str]) -> list[str]:
        """Statements as the server takes them."""
        return [self._of_one(statement) for statement in statements]

    def collation(self, name: str) -> str:
        """A collation that the server knows, where one stands near; else the same."""
        if name in self.replaced:
            return self.replaced[name]
        if name.lower() in self._collations:
            return name
        for pattern, candidates in _NEAREST:
            if match := pattern.match(name.lower()):
                for candidate in candidates:
                    if (expanded := match.expand(candidate)) in self._collations:
                        self.replaced[name] = expanded
                        return expanded
        return name

    def notes(self) -> list[str]:
        """What a person must know of it."""
        return [
            f"the server does not know the collation {name}: {other} stands in for it, which may sort otherwise"
            for name, other in sorted(self.replaced.items())
        ]

    def _of_one(self, statement: str) -> str:
        if "sql_mode" in statement[:200].lower():
            statement = _MODES.sub(self._known_modes, statement)
        names = {name for name in _COLLATION.findall(statement) if self.collation(name) != name}
        if not names:
            return statement
        pieces, end = [], 0
        for token in tokens(statement, "mysql"):
            name = token.text.strip("'")
            if token.kind is not Kind.QUOTED and name in names and _is_collation(statement, token.start):
                pieces += [statement[end : token.start], token.text.replace(name, self.collation(name))]
                end = token.start + len(token.text)
        return "".join((*pieces, statement[end:]))

    def _known_modes(self, match: re.Match[str]) -> str:
        kept = [mode for mode in match[2].split(",") if mode.upper() in self._modes]
        return f"{match[1]}'{','.join(kept)}'"


def _is_collation(statement: str, start: int) -> bool:
    before = statement[max(0, start - 40) : start]
    return re.search(r"(?:COLLATE|collation\w*)\s*=?\s*$", before, re.IGNORECASE) is not None


def translation_for(session: Session, flavour: Flavour) -> Translation:
    """What the server knows. Raises what the driver raises."""
    with session.cursor() as cursor:
        cursor.execute("SHOW COLLATION")
        known = {str(row[0]).lower() for row in cursor.fetchall()}
    # MariaDB lists the newest ones by their short names, each for several character sets.
    for name in [name for name in known if name.startswith("uca1400_")]:
        known |= {f"utf8mb4_{name}", f"utf8mb3_{name}"}
    return Translation(flavour, frozenset(known))
