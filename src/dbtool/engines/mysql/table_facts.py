"""Which tables hold rows, by which expressions the rows are read, and along which key they can be cut."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.history import HISTORY_SUFFIX, HISTORY_VERSION
from dbtool.engines.mysql.introspect import ColumnFacts, KeyPart, Listing, Partition, Relation
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.errors import RefusedError
from dbtool.model.database import Column, Table

_CAST_AS_DOUBLE_VERSION = 80017
# Identities of tables whose own the account may not see: no InnoDB table has one so high.
_FIRST_OWN_IDENTITY = 1 << 60
_NUMBERS = frozenset(
    {"tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year", "decimal", "numeric"}
)
# Kept as so many bytes, but shown as text, which the server does not take back as bytes.
_BYTES_BELOW_TEXT = {"uuid": 16, "inet6": 16, "inet4": 4}
_PASSED_OVER = frozenset({"Mn", "Me", "Cc", "Cf"})  # categories of Unicode: accents, controls
# A label of an ENUM, or a member of a SET, in a column's type.
_LABEL = re.compile(r"'((?:[^']|'')*)'")
# Columns whose order in an index is the order in which the server compares them with a literal. Not
# among them: ENUM and SET, which an index orders by number and a comparison by text; FLOAT and DOUBLE.
_CUTTABLE = frozenset(
    {
        *("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year", "decimal", "numeric"),
        *("date", "datetime", "timestamp", "time", "char", "varchar", "binary", "varbinary", "uuid"),
    }
)


@dataclass(frozen=True)
class KeyColumn:
    """A column of the key that a table's rows lie in the order of."""

    name: str
    data_type: str
    is_descending: bool = False
    charset: str | None = None
    collation: str | None = None
    is_unsigned: bool = False


@dataclass(frozen=True)
class TableFacts:
    """A table with rows, and what only those who read it need to know."""

    table: Table
    relation: Relation
    order: tuple[KeyColumn, ...] = ()  # of the index that the rows lie in; empty: of none that is known
    cut: tuple[KeyColumn, ...] = ()  # the first columns of it along which the table can be cut
    index: str = ""  # its name
    partitions: tuple[Partition, ...] = ()
    checked: tuple[ColumnFacts, ...] = field(default=(), repr=False)  # text columns that are stored


def tables(
    database: str,
    listing: Listing,
    key_orders: Mapping[str, Sequence[str]],
    flavour: Flavour,
    warnings: list[str],
) -> list[TableFacts]:
    """Every table that holds rows. `key_orders` has the names of each table's keys, in the server's order.

    Raises RefusedError for rows that no script can make again.
    """
    found = []
    for number, relation in enumerate(listing.relations):
        if not relation.has_rows:
            if relation.is_table and relation.engine.lower() not in ("blackhole", "mrg_myisam"):
                warnings.append(
                    f"table {relation.name}: engine {relation.engine} keeps no rows here; only its definition comes"
                )
            continue
        identity = listing.identities.get(relation.name, _FIRST_OWN_IDENTITY + number)
        keys = listing.keys.get(relation.name, {})
        ordered = {name: keys[name] for name in key_orders.get(relation.name, ()) if name in keys}
        found.append(
            _facts(
                database,
                relation,
                listing.columns.get(relation.name, []),
                {**ordered, **keys},
                tuple(listing.partitions.get(relation.name, ())),
                identity,
                flavour,
                warnings,
            )
        )
    return found


def _facts(
    database: str,
    relation: Relation,
    columns: Sequence[ColumnFacts],
    keys: Mapping[str, Sequence[KeyPart]],
    partitions: tuple[Partition, ...],
    identity: int,
    flavour: Flavour,
    warnings: list[str],
) -> TableFacts:
    stored = [column for column in columns if not _is_generated(column)]
    suffix, ends = "", ""
    if relation.kind == "SYSTEM VERSIONED":
        periods = _periods(relation, columns, flavour, warnings)
        if periods:
            suffix, ends = HISTORY_SUFFIX, periods[-1].name
            stored += periods
    if not stored:
        raise RefusedError(
            f"table {relation.name} has only generated columns: no statement can make its rows again",
            "name the other tables with -tablename, or give it a column of its own",
        )
    for column in stored:
        if column.charset == "binary" and "?" in column.type and flavour.is_mariadb:
            warnings.append(
                f"table {relation.name}: the labels of {column.name} are bytes; those that the server shows as ? "
                "come back as that"
            )
    index, parts = _key(keys, {column.name for column in stored})
    key = tuple(str(part.name) for part in parts)
    if key and ends and ends not in key:
        key += (ends,)  # the same row once for each time that it was
    by_name = {column.name: column for column in stored}
    is_ordered = relation.engine.lower() == "innodb" and bool(parts)
    order = tuple(_key_column(by_name[str(part.name)], part) for part in parts) if is_ordered else ()
    details: dict[str, Any] = {
        "engine": relation.engine,
        "row_format": relation.row_format,
        "kinds": "".join(_kind(column, flavour) for column in stored),
        "select": [_expression(column, flavour) for column in stored],
        "auto_increment": relation.auto_increment,
        "partitioned": relation.is_partitioned,
        "collation": relation.collation,
        "charsets": {column.name: column.charset for column in stored if column.charset},
    }
    if suffix:
        details["from_suffix"] = suffix
    table = Table(
        identity=identity,
        schema=database,
        name=relation.name,
        columns=tuple(Column(column.name, column.type) for column in stored),
        key=key,
        size_bytes=relation.size_bytes,
        row_estimate=float(relation.rows),
        details=details,
    )
    return TableFacts(
        table=table,
        relation=relation,
        order=order,
        cut=_cuttable(order),
        index=index if is_ordered else "",
        partitions=partitions if not suffix else (),
        checked=tuple(column for column in stored if column.charset),
    )


def _is_generated(column: ColumnFacts) -> bool:
    """By whole words: `DEFAULT_GENERATED` is a default that is an expression."""
    words = column.extra.upper().replace(",", " ").split()
    return "GENERATED" in words or "VIRTUAL" in words or "PERSISTENT" in words


def _periods(
    relation: Relation, columns: Sequence[ColumnFacts], flavour: Flavour, warnings: list[str]
) -> list[ColumnFacts]:
    """The two columns that say from when to when a row was; none where history cannot be restored."""
    periods = sorted(
        (column for column in columns if column.is_period), key=lambda c: c.expression or "", reverse=True
    )  # START, END
    if flavour.version_number < HISTORY_VERSION or any(c.data_type == "bigint" for c in periods):
        reason = "MariaDB before 10.11 cannot restore it"
        if periods and periods[0].data_type == "bigint":
            reason = "it is kept by transactions, and those cannot be restored"
        warnings.append(f"table {relation.name}: its history is left out, for {reason}")
        return []
    # Those that nobody declared are there as well, under these names.
    return periods or [
        ColumnFacts(name, "timestamp(6)", "timestamp", expression=f"ROW {name[4:].upper()}")
        for name in ("row_start", "row_end")
    ]


def _kind(column: ColumnFacts, flavour: Flavour) -> str:
    """FLOAT and DOUBLE are quoted: as a number, the literal -0 would lose its sign."""
    data_type = column.data_type.lower()
    if data_type == "json" and not flavour.is_mariadb:
        return "j"
    return "n" if data_type in _NUMBERS or is_by_number(column.type) else "s"


def is_by_number(column_type: str) -> bool:
    """Whether the values of an ENUM or a SET are told apart by their numbers only.

    So it is where a label is the empty text, which is also how an ENUM's value 0 and a SET without
    members look; and where two labels may be the same to their collation, which servers let pass unless they
    are strict.
    """
    if not column_type.lower().startswith(("enum(", "set(")):
        return False
    labels = [_folded(label) for label in _LABEL.findall(column_type)]
    return "" in labels or len(set(labels)) < len(labels)


def _folded(label: str) -> str:
    """A label without what the more generous collations pass over."""
    plain = unicodedata.normalize("NFKD", label.replace("''", "'")).casefold().rstrip(" ")
    kept = (character for character in plain if unicodedata.category(character) not in _PASSED_OVER)
    return "".join("?" if character > "\uffff" else character for character in kept)


def _expression(column: ColumnFacts, flavour: Flavour) -> str:
    """By what a column's value is read exactly."""
    name = quote_identifier(column.name)
    data_type = column.data_type.lower()
    if data_type == "float" or (data_type == "double" and "(" in column.type):
        # The text protocol shows a FLOAT with six digits only, others with those that were declared.
        casts = flavour.is_mariadb or flavour.version_number >= _CAST_AS_DOUBLE_VERSION
        return f"CAST({name} AS DOUBLE)" if casts else f"{name} * 1e0"
    if data_type in _BYTES_BELOW_TEXT:
        return f"CAST({name} AS BINARY({_BYTES_BELOW_TEXT[data_type]}))"
    if is_by_number(column.type):
        return f"CAST({name} AS UNSIGNED)"
    return name


def _key(keys: Mapping[str, Sequence[KeyPart]], stored: set[str]) -> tuple[str, Sequence[KeyPart]]:
    """(index, parts) of the primary key, else of the first unique key of whole columns without NULLs."""
    for index, parts in sorted(keys.items(), key=lambda item: item[0] != "PRIMARY"):
        if all(part.name in stored and not part.is_nullable and not part.is_prefix for part in parts):
            return index, parts
    return "", ()


def _key_column(column: ColumnFacts, part: KeyPart) -> KeyColumn:
    return KeyColumn(
        column.name,
        column.data_type.lower(),
        part.is_descending,
        column.charset,
        column.collation,
        "unsigned" in column.type.lower(),
    )


def _cuttable(order: Sequence[KeyColumn]) -> tuple[KeyColumn, ...]:
    """Ranges that compare only the first columns are whole as well: so as many as can be compared."""
    good = 0
    while good < len(order) and order[good].data_type in _CUTTABLE:
        good += 1
    return tuple(order[:good])
