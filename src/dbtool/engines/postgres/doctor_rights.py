"""What the account may do: for each kind of backup, what is missing and the GRANT that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dbtool.engines.postgres.doctor_facts import Facts
from dbtool.engines.postgres.quoting import quote_identifier
from dbtool.model.check import Check, State
from dbtool.text import printable, some

_READ_ALL_DATA_MAJOR = 14  # the role pg_read_all_data exists from here on

# A user's relations. What belongs to an extension comes with the extension, but for the tables
# that it declares to hold the user's configuration.
_OURS = """
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'
    AND NOT EXISTS (
        SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        AND d.refclassid = 'pg_extension'::regclass AND NOT (c.oid = ANY (coalesce(e.extconfig, '{}')))
    )"""


def _logical_tables(facts: Facts) -> Iterator[Check]:
    yield from _readable(facts, "tables", "'r', 'p'", "has_table_privilege")


def _logical_sequences(facts: Facts) -> Iterator[Check]:
    yield from _readable(facts, "sequences", "'S'", "has_sequence_privilege")


def _readable(facts: Facts, what: str, kinds: str, function: str) -> Iterator[Check]:
    rows = facts.rows(
        "SELECT format('%I.%I', n.nspname, c.relname), quote_ident(n.nspname),"
        f" has_schema_privilege(n.oid, 'USAGE') AND {function}(c.oid, 'SELECT')"
        f" {_OURS} AND c.relkind IN ({kinds}) ORDER BY 1"
    )
    closed = [name for name, _, allowed in rows if not allowed]
    name = f"logical backup: {what}"
    if not closed:
        yield Check(name, State.OK, f"all {len(rows):,} can be read")
        return
    schemas = sorted({schema for _, schema, allowed in rows if not allowed})
    message = f"{len(closed):,} of {len(rows):,} cannot be read: {some(closed)}"
    yield Check(name, State.PROBLEM, printable(message), printable(_grant_read(facts, what, schemas)))


def _grant_read(facts: Facts, what: str, schemas: list[str]) -> str:
    user = quote_identifier(facts.user)
    if facts.major >= _READ_ALL_DATA_MAJOR:
        return f"GRANT pg_read_all_data TO {user};"
    return " ".join(
        f"GRANT USAGE ON SCHEMA {schema} TO {user}; "
        f"GRANT SELECT ON ALL {what.upper()} IN SCHEMA {schema} TO {user};"
        for schema in schemas
    )


def _row_security(facts: Facts) -> Iterator[Check]:
    hidden = facts.names(
        f"SELECT format('%I.%I', n.nspname, c.relname) {_OURS}"
        " AND c.relkind IN ('r', 'p') AND row_security_active(c.oid) ORDER BY 1"
    )
    if hidden:
        yield Check(
            "logical backup: row security",
            State.PROBLEM,
            printable(f"policies hide rows of {some(hidden)}"),
            f"ALTER ROLE {quote_identifier(facts.user)} BYPASSRLS;",
        )


def _large_objects(facts: Facts) -> Iterator[Check]:
    """Each has privileges of its own; pg_read_all_data does not open them."""
    if facts.is_superuser or facts.setting("lo_compat_privileges") == "on":
        return
    closed = facts.names(
        "SELECT l.oid FROM pg_largeobject_metadata AS l WHERE NOT pg_has_role(l.lomowner, 'USAGE')"
        " AND NOT EXISTS (SELECT FROM aclexplode(l.lomacl) AS a WHERE a.privilege_type = 'SELECT'"
        " AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE'))) ORDER BY 1"
    )
    if closed:
        user = quote_identifier(facts.user).replace("'", "''")
        yield Check(
            "logical backup: large objects",
            State.PROBLEM,
            f"{len(closed):,} cannot be read: {some(closed)}",
            "DO $$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP "  # noqa: S608 - shown only
            f"EXECUTE 'GRANT SELECT ON LARGE OBJECT ' || o || ' TO {user}'; END LOOP; END $$;",
        )


def _subscriptions(facts: Facts) -> Iterator[Check]:
    if facts.is_superuser:
        return
    names = facts.names(
        "SELECT s.subname FROM pg_subscription AS s JOIN pg_database AS d ON d.oid = s.subdbid"
        " WHERE d.datname = current_database() ORDER BY 1"
    )
    if names:
        message = f"{some(names)}: only a superuser can back up subscriptions; they will be missing"
        yield Check("logical backup: subscriptions", State.WARNING, printable(message))


def _roles_of_the_cluster(facts: Facts) -> Iterator[Check]:
    ((readable,),) = facts.rows("SELECT has_table_privilege('pg_authid', 'SELECT')")
    if readable:
        yield Check("roles and tablespaces", State.OK, "can be read, with the roles' passwords")
    else:
        yield Check(
            "roles and tablespaces",
            State.NOTE,
            "globals.sql will hold no passwords: pg_authid cannot be read",
            f"GRANT SELECT ON pg_catalog.pg_authid TO {quote_identifier(facts.user)};",
        )


def _physical_backup(facts: Facts) -> Iterator[Check]:
    if facts.is_superuser or facts.may_replicate:
        yield Check("physical backup: rights", State.OK, "REPLICATION is there")
    else:
        mend = f"ALTER ROLE {quote_identifier(facts.user)} REPLICATION;"
        yield Check("physical backup: rights", State.WARNING, "REPLICATION is missing", mend)


def _restore(facts: Facts) -> Iterator[Check]:
    if facts.is_superuser or facts.may_create_databases:
        yield Check("restore: rights", State.OK, "databases can be made")
    else:
        mend = f"ALTER ROLE {quote_identifier(facts.user)} CREATEDB; or restore with another account."
        yield Check("restore: rights", State.NOTE, "databases cannot be made", mend)


def _excess_privileges(facts: Facts) -> Iterator[Check]:
    if not facts.is_superuser:
        return
    read = "GRANT pg_read_all_data TO dbtool_backup;"
    if facts.major < _READ_ALL_DATA_MAJOR:
        read = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO dbtool_backup;"
    yield Check(
        "excess privileges",
        State.NOTE,
        f'"{printable(facts.user)}" is a superuser, which is more than backups need',
        f"CREATE ROLE dbtool_backup LOGIN REPLICATION BYPASSRLS PASSWORD '…'; {read}",
    )


LOOKS: tuple[Callable[[Facts], Iterator[Check]], ...] = (
    _logical_tables,
    _logical_sequences,
    _row_security,
    _large_objects,
    _subscriptions,
    _roles_of_the_cluster,
    _physical_backup,
    _restore,
    _excess_privileges,
)
