"""What `doctor` looks at on a MySQL or MariaDB server: versions, settings that matter, client programs.

What the account may do is in `doctor_rights.py`. Every look stands alone: one that fails is
reported and does not keep the others from being made.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence

from dbtool.engines.looks import Report, made
from dbtool.engines.mysql import doctor_rights
from dbtool.engines.mysql.connect import connect, resolve
from dbtool.engines.mysql.doctor_facts import Facts
from dbtool.engines.mysql.messages import is_lost, readable_errors, text_of
from dbtool.errors import DbtoolError
from dbtool.model.check import Check, State
from dbtool.model.connection import Connection
from dbtool.text import printable, some

# Tested are these; those in between should work. (major, minor)
TESTED = {"mysql": ((9, 7),), "mariadb": ((10, 5), (10, 11), (11, 8))}
OLDEST = {"mysql": (8, 0), "mariadb": (10, 5)}
# Older ones get no more security fixes.
_MAINTAINED = {"mysql": (8, 4), "mariadb": (10, 11)}

_MEBIBYTE = 1 << 20
_SMALL_PACKET_BYTES = 64 * _MEBIBYTE
_CLIENTS = {"mysql": ("mysql", "mariadb"), "mariadb": ("mariadb", "mysql")}


def examine(connection: Connection, client_directories: Iterable[str] = ()) -> Report:
    """Look at a server, its client programs and the account's rights. Changes nothing."""
    import pymysql

    directories = tuple(client_directories)
    try:
        session = connect(connection, application_name="dbtool doctor")
    except DbtoolError as error:
        state = Check("connection", State.PROBLEM, error.message, error.hint)
        return Report((state, _client_program("mysql", directories)), None)
    with readable_errors("looking at the server"), session:
        facts = Facts.read(session, connection.database)
        checks = [_connection(facts, connection), *_server_version(facts)]
        checks.append(_client_program(facts.flavour.name, directories))
        looks = (*doctor_rights.LOOKS, *_LOOKS)
        checks += made(looks, facts, pymysql.MySQLError, is_lost, text_of)
        return Report(tuple(checks), facts.database_bytes)


def _connection(facts: Facts, connection: Connection) -> Check:
    address = resolve(connection)
    ((_, cipher),) = facts.rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    where = "a Unix socket" if address.socket else address.host
    encrypted = "encrypted" if cipher else "not encrypted"
    message = f'database "{facts.database}" as {facts.account} through {where}, {encrypted}'
    return Check("connection", State.OK, printable(message))


def _server_version(facts: Facts) -> Iterator[Check]:
    flavour = facts.flavour
    number = flavour.version_number
    version = (number // 10000, number // 100 % 100)
    message = flavour.label
    tested = ", ".join(f"{major}.{minor}" for major, minor in TESTED[flavour.name])
    if version < OLDEST[flavour.name] or version > TESTED[flavour.name][-1]:
        yield Check("server version", State.WARNING, f"{message}; tested are {tested}")
    elif version < _MAINTAINED[flavour.name]:
        yield Check("server version", State.NOTE, f"{message}, which gets no more security fixes", "Upgrade.")
    elif version not in TESTED[flavour.name]:
        yield Check("server version", State.NOTE, f"{message} should work; tested are {tested}")
    else:
        yield Check("server version", State.OK, message)


def _client_program(flavour: str, directories: Sequence[str]) -> Check:
    """dbtool itself needs none; a restore without dbtool does."""
    for name in _CLIENTS[flavour]:
        for folder in (*directories, None):
            if found := shutil.which(name, path=folder):
                return Check("client mysql", State.OK, found)
    return Check(
        "client mysql",
        State.NOTE,
        "none was found: dbtool needs none, but a restore without dbtool does",
        "apt-get install mariadb-client, or the client of your server",
    )


def _engines(facts: Facts) -> Iterator[Check]:
    support = {str(row[0]).lower(): str(row[1]) for row in facts.rows("SHOW ENGINES")}
    state = support.get("innodb", "NO")
    if state not in ("YES", "DEFAULT"):
        yield Check("InnoDB", State.PROBLEM, f"InnoDB is not available ({state})", "See the server's log.")
    elif recovery := facts.integer("innodb_force_recovery"):
        yield Check(
            "InnoDB",
            State.WARNING,
            f"innodb_force_recovery = {recovery}: the server was started to save what can be saved",
            "Take a backup, and restore it into a sound server.",
        )
    else:
        yield Check("InnoDB", State.OK, "available")


def _packet_size(facts: Facts) -> Iterator[Check]:
    size = facts.integer("max_allowed_packet")
    message = f"max_allowed_packet = {size // _MEBIBYTE:,} MiB"
    if size < _SMALL_PACKET_BYTES:
        yield Check(
            "packet size",
            State.NOTE,
            f"{message}: larger rows cannot be restored here",
            "SET GLOBAL max_allowed_packet = 1073741824; -- and in the server's option file",
        )
    else:
        yield Check("packet size", State.OK, message)


def _local_infile(facts: Facts) -> Iterator[Check]:
    if facts.is_on("local_infile"):
        yield Check("restore: speed", State.OK, "local_infile is on")
    elif facts.rights.has("SUPER") or facts.rights.has("SYSTEM_VARIABLES_ADMIN"):
        yield Check("restore: speed", State.OK, "local_infile is off; a restore switches it on while it runs")
    else:
        yield Check(
            "restore: speed",
            State.NOTE,
            "local_infile is off: rows are restored by INSERT, which takes longer",
            "SET GLOBAL local_infile = ON;",
        )


def _binary_log(facts: Facts) -> Iterator[Check]:
    if not facts.is_on("log_bin"):
        yield Check(
            "binary log",
            State.NOTE,
            "log_bin is off: there is nothing to go on from behind a backup",
            "log_bin and server_id in the server's option file -- then restart the server",
        )
        return
    unusual = []
    if facts.settings.get("binlog_format", "ROW") != "ROW":
        unusual.append(f"binlog_format = {facts.settings['binlog_format']}")
    if facts.settings.get("binlog_row_image", "FULL") != "FULL":
        unusual.append(f"binlog_row_image = {facts.settings['binlog_row_image']}")
    if unusual:
        mend = "SET GLOBAL binlog_format = ROW; SET GLOBAL binlog_row_image = FULL;"
        message = f"{', '.join(unusual)}: what is logged is not the rows themselves"
        yield Check("binary log", State.WARNING, message, mend)
    else:
        yield Check("binary log", State.OK, "on, by rows")


def _time_zones(facts: Facts) -> Iterator[Check]:
    ((known,),) = facts.rows("SELECT CONVERT_TZ('2000-01-01 00:00:00', 'UTC', 'Europe/Berlin') IS NOT NULL")
    if known:
        yield Check("time zones", State.OK, "named zones are known")
    else:
        yield Check(
            "time zones",
            State.NOTE,
            "named zones are not known: events that have one cannot be restored here",
            "mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql mysql",
        )


def _read_only(facts: Facts) -> Iterator[Check]:
    switches = ("read_only", "super_read_only", "innodb_read_only", "offline_mode")
    names = [name for name in switches if name in facts.settings and facts.settings[name] not in ("OFF", "0")]
    if names:
        message = f"{', '.join(names)} on: nothing can be restored here"
        yield Check("read-only server", State.NOTE, message)


def _keys(facts: Facts) -> Iterator[Check]:
    rows = facts.rows(
        "SELECT t.TABLE_NAME FROM information_schema.TABLES t LEFT JOIN information_schema.TABLE_CONSTRAINTS c"
        " ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME"
        " AND c.CONSTRAINT_TYPE IN ('PRIMARY KEY', 'UNIQUE')"
        " WHERE t.TABLE_SCHEMA = %s AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"
        " AND c.CONSTRAINT_NAME IS NULL ORDER BY 1",
        (facts.database,),
    )
    names = [str(name) for (name,) in rows]
    if names:
        message = f"{some(names)}: each is read by one connection, and replication is slow for them"
        yield Check("tables without a key", State.NOTE, printable(message))
    if facts.is_on("sql_require_primary_key") and not facts.rights.has("SESSION_VARIABLES_ADMIN"):
        yield Check(
            "restore: tables without a key",
            State.NOTE,
            "sql_require_primary_key is on, and the account may not lift it: they cannot be restored here",
            printable(facts.grant("SESSION_VARIABLES_ADMIN", "*.*")),
        )


def _names(facts: Facts) -> Iterator[Check]:
    value = facts.integer("lower_case_table_names")
    if value:
        yield Check(
            "names",
            State.NOTE,
            f"lower_case_table_names = {value}: tables whose names differ only in case cannot be restored here",
        )


_LOOKS: tuple[Callable[[Facts], Iterator[Check]], ...] = (
    _engines,
    _packet_size,
    _local_infile,
    _binary_log,
    _time_zones,
    _read_only,
    _keys,
    _names,
)
