"""What the account may do: for each kind of work, what is missing and the GRANT that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dbtool.engines.mysql import introspect
from dbtool.engines.mysql.doctor_facts import Facts
from dbtool.model.check import Check, State
from dbtool.text import printable, some

_SHOW_ROUTINE_VERSION = 80020
_SET_ANY_DEFINER_VERSION = 80200
_SLAVE_MONITOR_VERSION = 100509

# What a restore does in the database, and in the one beside it in which it is prepared.
_RESTORING = (
    *(
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "CREATE",
        "DROP",
        "ALTER",
        "INDEX",
        "REFERENCES",
        "LOCK TABLES",
    ),
    *("CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EXECUTE", "EVENT", "TRIGGER"),
)


def _backup_of_the_database(facts: Facts) -> Iterator[Check]:
    missing = facts.rights.missing(facts.database)
    name = "logical backup: database"
    if missing:
        message = f"{', '.join(missing)} missing on {facts.database}: parts of it could not be seen"
        yield Check(name, State.PROBLEM, printable(message), printable(facts.grant(missing, facts.place)))
    else:
        yield Check(name, State.OK, "tables, views, triggers and events can be read")


def _backup_of_routines(facts: Facts) -> Iterator[Check]:
    name = "logical backup: routines"
    if facts.rights.sees_routines(facts.database):
        yield Check(name, State.OK, "can be read")
        return
    if facts.flavour.is_mariadb:
        mend = facts.grant("SELECT", "mysql.proc")
    elif facts.flavour.version_number >= _SHOW_ROUTINE_VERSION:
        mend = facts.grant("SHOW_ROUTINE", "*.*")
    else:
        mend = facts.grant("SELECT", "*.*")
    yield Check(name, State.PROBLEM, "those of others cannot be read", printable(mend))


def _snapshot(facts: Facts) -> Iterator[Check]:
    """How several connections come to see the same moment."""
    name = "logical backup: snapshot"
    has, is_mariadb = facts.rights.has, facts.flavour.is_mariadb
    locks_tables = has("LOCK TABLES", facts.database)
    if is_mariadb and facts.is_on("log_bin"):
        yield Check(
            name, State.OK, "several connections share one, compared by the binary log, without a lock"
        )
    elif has("RELOAD"):
        way = "BACKUP STAGE" if is_mariadb else "a brief FLUSH TABLES WITH READ LOCK"
        yield Check(name, State.OK, f"several connections share one, taken under {way}")
    elif locks_tables:
        message = "taken under LOCK TABLES, for which every table must be free for a moment"
        yield Check(name, State.NOTE, message, printable(facts.grant("RELOAD", "*.*")))
    else:
        message = "no lock may be taken, so a backup has one connection, which takes longer"
        yield Check(name, State.WARNING, message, printable(facts.grant("RELOAD", "*.*")))
    if not is_mariadb and not has("BACKUP_ADMIN"):
        yield Check(
            "logical backup: definitions",
            State.NOTE,
            "changes of tables cannot be held back meanwhile; a backup that meets one begins again, or fails",
            printable(facts.grant("BACKUP_ADMIN", "*.*")),
        )


def _tables_without_transactions(facts: Facts) -> Iterator[Check]:
    relations = introspect.relations(facts.session, facts.database)
    names = introspect.without_transactions(facts.session, relations)
    if not names:
        return
    message = (
        f"{some(names)}: of an engine without transactions, so nobody can write to them while they are read"
    )
    if facts.rights.has("LOCK TABLES", facts.database):
        yield Check("tables without transactions", State.NOTE, printable(message))
    else:
        yield Check(
            "tables without transactions",
            State.PROBLEM,
            printable(f"{message}, for which the account lacks LOCK TABLES"),
            printable(facts.grant("LOCK TABLES", facts.place)),
        )


def _coordinates(facts: Facts) -> Iterator[Check]:
    """Where in the binary log a backup stands; and which tables are the same as before."""
    has, is_mariadb = facts.rights.has, facts.flavour.is_mariadb
    lacking = []
    if not (has("BINLOG MONITOR") or has("REPLICATION CLIENT") or has("SUPER")):
        lacking.append("BINLOG MONITOR" if is_mariadb else "REPLICATION CLIENT")
    if is_mariadb and facts.flavour.version_number >= _SLAVE_MONITOR_VERSION and not has("SLAVE MONITOR"):
        lacking.append("SLAVE MONITOR")
    if not has("PROCESS"):
        lacking.append("PROCESS")
    if lacking:
        yield Check(
            "backup coordinates",
            State.NOTE,
            f"{', '.join(lacking)} missing: a backup will not know its place in the binary log, the server's "
            "own numbers of tables, or the queries of others that stand in its way",
            printable(facts.grant(lacking, "*.*")),
        )
    else:
        yield Check("backup coordinates", State.OK, "the place in the binary log can be read")


def _users_of_the_server(facts: Facts) -> Iterator[Check]:
    if facts.rights.has("SELECT", "mysql"):
        yield Check("users and grants", State.OK, "can be read, with the hashes of their passwords")
    else:
        yield Check(
            "users and grants",
            State.NOTE,
            "there will be no globals.sql: the server's users cannot be read",
            printable(facts.grant("SELECT", "mysql.*")),
        )


def _restore(facts: Facts) -> Iterator[Check]:
    missing = [privilege for privilege in _RESTORING if not facts.rights.has(privilege)]
    if missing:
        message = f"{some(missing)} missing on *.*, where databases are made and put in the place of others"
        mend = f"{facts.grant(missing, '*.*')} Or restore with another account."
        yield Check("restore: rights", State.NOTE, message, printable(mend))
    else:
        yield Check("restore: rights", State.OK, "databases can be made and replaced")
    yield from _definers(facts)
    yield from _functions_in_the_binary_log(facts)


def _definers(facts: Facts) -> Iterator[Check]:
    """Views, routines, triggers and events of other people."""
    has, version = facts.rights.has, facts.flavour.version_number
    if facts.flavour.is_mariadb:
        needed = "SET USER"
    else:
        needed = "SET_ANY_DEFINER" if version >= _SET_ANY_DEFINER_VERSION else "SET_USER_ID"
    if not has(needed) and not has("SUPER"):
        yield Check(
            "restore: definers",
            State.NOTE,
            f"{needed} missing: what runs in the name of others can only be restored with -no-owner",
            printable(facts.grant(needed, "*.*")),
        )


def _functions_in_the_binary_log(facts: Facts) -> Iterator[Check]:
    if facts.is_on("log_bin") and not facts.is_on("log_bin_trust_function_creators") and not _is_admin(facts):
        yield Check(
            "restore: functions and triggers",
            State.NOTE,
            "the binary log is on, and an account without SUPER cannot make functions and triggers then",
            "SET GLOBAL log_bin_trust_function_creators = ON;",
        )


def _is_admin(facts: Facts) -> bool:
    return facts.rights.has("SUPER") or facts.rights.has("ALL PRIVILEGES")


def _excess_privileges(facts: Facts) -> Iterator[Check]:
    if not _is_admin(facts):
        return
    create = "CREATE USER dbtool_backup IDENTIFIED BY '…';"
    grants = grants_for_backups(facts)
    yield Check(
        "excess privileges",
        State.NOTE,
        printable(f"{facts.account} may do anything, which is more than backups need"),
        printable(f"{create} {grants}"),
    )


def grants_for_backups(facts: Facts) -> str:
    """All that an account for full backups of this server's databases needs."""
    if facts.flavour.is_mariadb:
        monitor = ", SLAVE MONITOR" if facts.flavour.version_number >= _SLAVE_MONITOR_VERSION else ""
        everywhere = (
            f"SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, RELOAD, PROCESS, BINLOG MONITOR{monitor}"
        )
    else:
        everywhere = (
            "SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, RELOAD, PROCESS, REPLICATION CLIENT, "
            "BACKUP_ADMIN, SHOW_ROUTINE"
        )
    return f"GRANT {everywhere} ON *.* TO dbtool_backup;"


LOOKS: tuple[Callable[[Facts], Iterator[Check]], ...] = (
    _backup_of_the_database,
    _backup_of_routines,
    _snapshot,
    _tables_without_transactions,
    _coordinates,
    _users_of_the_server,
    _restore,
    _excess_privileges,
)
