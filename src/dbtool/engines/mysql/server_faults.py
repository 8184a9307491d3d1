"""What servers write wrongly in definitions, put right from what they say elsewhere."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtool.engines.mysql.queries import rows_of
from dbtool.engines.mysql.quoting import quote_identifier

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

_NAMES_SQL = """
SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME
FROM information_schema.KEY_COLUMN_USAGE
WHERE TABLE_SCHEMA = %s AND REFERENCED_TABLE_NAME IS NOT NULL
ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION
"""


@dataclass(frozen=True)
class ForeignKeyNames:
    """All names in a foreign key, in the order in which a definition has them."""

    name: str
    columns: tuple[str, ...]
    schema: str | None  # None: the table's own
    parent: str
    parent_columns: tuple[str, ...]

    @property
    def has_back_ticks(self) -> bool:
        """Whether any of the names has a back-tick in it."""
        names = (self.name, *self.columns, self.schema or "", self.parent, *self.parent_columns)
        return any("`" in name for name in names)


def foreign_keys_with_back_ticks(session: Session, database: str) -> dict[str, list[ForeignKeyNames]]:
    """By table, the foreign keys with names that MariaDB's InnoDB writes as if back-ticks needed no doubling."""
    found: dict[tuple[str, str], list[tuple[str, str, str, str]]] = defaultdict(list)
    for table, name, *rest in rows_of(session, _NAMES_SQL, (database,)):
        found[table, name].append(tuple(rest))
    keys: dict[str, list[ForeignKeyNames]] = defaultdict(list)
    for (table, name), parts in found.items():
        schema = parts[0][1] if parts[0][1] != database else None
        columns = tuple(part[0] for part in parts)
        key = ForeignKeyNames(name, columns, schema, parts[0][2], tuple(part[3] for part in parts))
        if key.has_back_ticks:
            keys[table].append(key)
    return keys


def with_quoted_names(text: str, keys: Sequence[ForeignKeyNames]) -> str:
    """A definition whose foreign keys have their names quoted as they must be."""
    for key in keys:
        schema = f"{quote_identifier(key.schema)}." if key.schema else ""
        right = (
            f"CONSTRAINT {quote_identifier(key.name)} FOREIGN KEY ({_listed(key.columns)}) "
            f"REFERENCES {schema}{quote_identifier(key.parent)} ({_listed(key.parent_columns)})"
        )
        columns, parent_columns = (
            ", *".join(_either(name) for name in names) for names in (key.columns, key.parent_columns)
        )
        either_schema = rf"{_either(key.schema)}\." if key.schema else ""
        wrong = (
            rf"CONSTRAINT {_either(key.name)} FOREIGN KEY \({columns}\) "
            rf"REFERENCES {either_schema}{_either(key.parent)} \({parent_columns}\)"
        )
        text = re.sub(wrong, lambda _, right=right: right, text, count=1)  # type: ignore[misc]
    return text


def _listed(names: Sequence[str]) -> str:
    return ", ".join(quote_identifier(name) for name in names)


def _either(name: str) -> str:
    """A name in back-ticks, those in it doubled or not."""
    return f"(?:`{re.escape(name)}`|{re.escape(quote_identifier(name))})"
