"""What the catalogue says of a MySQL or MariaDB server, of a database and of its tables.

Columns are always asked for by name: `*` leaves out those that the server keeps for itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.names import SYSTEM_SCHEMAS
from dbtool.engines.mysql.queries import rows_of, value_of, variables
from dbtool.engines.mysql.quoting import quote_literal
from dbtool.errors import NotFoundError
from dbtool.model.database import ServerFacts

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

# Engines whose tables hold no rows of their own: they show those of other tables, other servers or files.
_WITHOUT_ROWS = frozenset(
    {
        "mrg_myisam",
        "mrg_isam",
        "merge",
        "blackhole",
        "federated",
        "federatedx",
        "connect",
        "spider",
        "oqgraph",
        "sequence",
        "sphinx",
        "vp",
        "ndbinfo",
        "performance_schema",
        "information_schema",
    }
)
_TABLE_KINDS = ("BASE TABLE", "SYSTEM VERSIONED")
# MySQL has had the filename character set, in which tables are listed by InnoDB, hidden since 8.0.
_PLAIN_NAME = re.compile(r"[\x00-\x7f]*")

_TABLES_SQL = """
SELECT TABLE_NAME, TABLE_TYPE, ENGINE, ROW_FORMAT, TABLE_ROWS, DATA_LENGTH, AUTO_INCREMENT,
       TABLE_COLLATION, CREATE_OPTIONS, CREATE_TIME
FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME
"""
_COLUMNS_SQL = """
SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, DATA_TYPE, EXTRA, CHARACTER_SET_NAME, COLLATION_NAME,
       GENERATION_EXPRESSION, IS_NULLABLE
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME, ORDINAL_POSITION
"""
_KEYS_SQL = """
SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, NULLABLE, SUB_PART, COLLATION
FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND NON_UNIQUE = 0
ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX
"""
_PARTITIONS_SQL = """
SELECT TABLE_NAME, COALESCE(SUBPARTITION_NAME, PARTITION_NAME), DATA_LENGTH, TABLE_ROWS
FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = %s AND PARTITION_NAME IS NOT NULL
ORDER BY TABLE_NAME, PARTITION_ORDINAL_POSITION, SUBPARTITION_ORDINAL_POSITION
"""


@dataclass(frozen=True)
class Relation:
    """A table, sequence or view of the database, as the catalogue lists it."""

    name: str
    kind: str  # "BASE TABLE", "SYSTEM VERSIONED", "SEQUENCE", "VIEW"
    engine: str = ""
    row_format: str = ""
    rows: int = 0
    size_bytes: int = 0
    auto_increment: int | None = None
    collation: str = ""
    options: str = ""
    created: str = ""

    @property
    def is_table(self) -> bool:
        """Whether it is made by CREATE TABLE."""
        return self.kind in _TABLE_KINDS

    @property
    def has_rows(self) -> bool:
        """Whether it holds rows of the user's."""
        return self.is_table and self.engine.lower() not in _WITHOUT_ROWS

    @property
    def is_partitioned(self) -> bool:
        """Whether its rows lie in partitions."""
        return "partitioned" in self.options.lower()


@dataclass(frozen=True)
class ColumnFacts:
    """A column as the catalogue knows it. A view's columns are among them, too."""

    name: str
    type: str  # "varchar(10)"
    data_type: str  # "varchar"
    extra: str = ""
    charset: str | None = None
    collation: str | None = None
    expression: str | None = None  # of a generated column
    nullable: str = "YES"

    @property
    def is_period(self) -> bool:
        """Whether it says when a row of a system-versioned table began or ended to be."""
        return (self.expression or "").upper() in ("ROW START", "ROW END")


@dataclass(frozen=True)
class KeyPart:
    """A column of a unique key; no name where it is an expression."""

    name: str | None
    is_nullable: bool
    is_prefix: bool
    is_descending: bool


@dataclass(frozen=True)
class Partition:
    """A partition, or a subpartition, and how much is in it."""

    name: str
    size_bytes: int
    rows: int


@dataclass(frozen=True)
class Listing:
    """All that the catalogue says of a database's tables and views, by their names."""

    relations: tuple[Relation, ...]
    columns: dict[str, list[ColumnFacts]]
    keys: dict[str, dict[str, list[KeyPart]]]
    partitions: dict[str, list[Partition]]
    identities: dict[str, int]  # InnoDB's, of the tables whose own the account may see


def server_facts(session: Session, flavour: Flavour) -> ServerFacts:
    """Which server it is. MariaDB's `server_uid` stands for the uuid that it does not have."""
    found = variables(
        session, "server_uuid", "server_uid", "server_id", "lower_case_table_names", "log_bin", "hostname",
        "port", "character_set_server", "collation_server", "version_comment", "gtid_domain_id", "gtid_mode",
    )  # fmt: skip
    uid = found.pop("server_uid", "")
    identity = found.pop("server_uuid", "") or uid
    identity = identity or f"{found.get('hostname', '')}:{found.get('port', '')}:{found.get('server_id', '')}"
    return ServerFacts("mysql", flavour.name, flavour.version, flavour.version_number, identity, dict(found))


def databases(session: Session) -> list[str]:
    """Every database but the system's own."""
    found = rows_of(session, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME")
    return [name for (name,) in found if name.lower() not in SYSTEM_SCHEMAS]


def database_facts(session: Session, name: str, flavour: Flavour) -> dict[str, Any]:
    """Name, character set, collation, comment. Raises NotFoundError."""
    comment = "SCHEMA_COMMENT" if flavour.is_mariadb else "''"
    found = rows_of(
        session,
        f"SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, {comment} "  # noqa: S608
        "FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s",
        (name,),
    )
    if not found:
        raise NotFoundError(f"there is no database {name}, or the account may not see it")
    called, charset, collation, remark = found[0]
    return {"name": called, "encoding": charset, "collation": collation, "comment": remark or ""}


def relations(session: Session, database: str) -> tuple[Relation, ...]:
    """Tables, sequences and views, by name."""
    return tuple(
        Relation(
            name,
            kind,
            engine or "",
            row_format or "",
            int(count or 0),
            int(size or 0),
            auto,
            collation or "",
            options or "",
            str(created or ""),
        )
        for name, kind, engine, row_format, count, size, auto, collation, options, created in rows_of(
            session, _TABLES_SQL, (database,)
        )
        # Those of the session's own, which newer MariaDB lists, are no part of the database.
        if kind != "TEMPORARY" and kind != "TEMPORARY SEQUENCE"
    )


def listing(
    session: Session, database: str, found: Sequence[Relation], identities: dict[str, int]
) -> Listing:
    """What there is to know of relations that were found."""
    columns: dict[str, list[ColumnFacts]] = defaultdict(list)
    for table, *facts in rows_of(session, _COLUMNS_SQL, (database,)):
        columns[table].append(ColumnFacts(*facts))
    keys: dict[str, dict[str, list[KeyPart]]] = defaultdict(lambda: defaultdict(list))
    for table, index, name, nullable, prefix, direction in rows_of(session, _KEYS_SQL, (database,)):
        part = KeyPart(name, nullable == "YES", prefix is not None, direction == "D")
        keys[table][index].append(part)
    partitions: dict[str, list[Partition]] = defaultdict(list)
    if any(relation.is_partitioned for relation in found):
        for table, name, size, count in rows_of(session, _PARTITIONS_SQL, (database,)):
            partitions[table].append(Partition(name, int(size or 0), int(count or 0)))
    return Listing(tuple(found), columns, keys, partitions, identities)


def identities(session: Session, database: str, names: Sequence[str], flavour: Flavour) -> dict[str, int]:
    """InnoDB's ids of tables. Only those of accounts with the right PROCESS are there; on MySQL only
    those of names without other letters than ASCII's. Of a partitioned table, that of its first partition."""
    import pymysql

    place = "INNODB_SYS_TABLES" if flavour.is_mariadb else "INNODB_TABLES"
    spelled = _file_names(session, [database, *names], flavour)
    start = spelled.get(database)
    if start is None:
        return {}
    pattern = re.sub(r"([\\%_])", r"\\\1", start + "/") + "%"
    try:
        found = rows_of(
            session,
            f"SELECT CAST(NAME AS BINARY), TABLE_ID FROM information_schema.{place} WHERE NAME LIKE %s",  # noqa: S608
            (pattern,),
        )
    except pymysql.MySQLError:
        return {}
    known: dict[str, int] = {}
    for name, number in found:
        own = re.split("#[Pp]#", bytes(name).decode("ascii", "replace")[len(start) + 1 :])[0]
        known[own] = min(int(number), known.get(own, int(number)))
    return {name: known[spelled[name]] for name in names if spelled.get(name) in known}


def _file_names(session: Session, names: Sequence[str], flavour: Flavour) -> dict[str, str]:
    """Names as InnoDB spells them, as far as that can be found out."""
    spelled = {
        name: "".join(c if c.isalnum() or c == "_" else f"@{ord(c):04x}" for c in name)
        for name in names
        if _PLAIN_NAME.fullmatch(name)
    }
    if flavour.is_mariadb:
        for name in names:
            if name not in spelled:
                text = f"CAST(CONVERT({quote_literal(name)} USING filename) AS BINARY)"
                spelled[name] = bytes(value_of(session, f"SELECT {text}")).decode("ascii", "replace")
    return spelled


def without_transactions(session: Session, found: Sequence[Relation]) -> list[str]:
    """The names of tables whose rows a snapshot does not hold still."""
    engines = {
        str(name).lower()
        for name, transactions in rows_of(
            session, "SELECT ENGINE, TRANSACTIONS FROM information_schema.ENGINES"
        )
        if str(transactions).upper() == "YES"
    }
    return [item.name for item in found if item.has_rows and item.engine.lower() not in engines]
