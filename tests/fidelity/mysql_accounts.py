"""Accounts, roles and grants of a server that are awkward to copy, and a picture of them.

The picture is taken with what the server shows, without dbtool's own code.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.conftest import back_ticked, connect_mysql
from tests.fidelity.mysql_awkward_values import Dialect

from dbtool.model.connection import Connection

ACCOUNTS = (
    "'dbtool it''s'@'%'",
    "'dbtool app'@'10.0.0.0/255.255.255.0'",
    "''@'dbtool.example'",
    "'dbtool -rf'@'localhost'",
)
ROLES = ("dbtool_reader", "`dbtool wri``ter`")
SECRET = 'it\'s \\ "secret"'


def account_statements(dialect: Dialect, database: str) -> Iterator[str]:
    """Accounts with rights of every level on the awkward database; for one session of root."""
    odd, app, anonymous, dash = ACCOUNTS
    secret = SECRET.replace("\\", "\\\\").replace("'", "''")
    place = back_ticked(database)
    yield "SET sql_mode = ''"
    yield f"CREATE USER {odd} IDENTIFIED BY '{secret}' REQUIRE SUBJECT '/CN=it''s' WITH MAX_USER_CONNECTIONS 7"
    yield f"CREATE USER {app} IDENTIFIED BY '' PASSWORD EXPIRE INTERVAL 90 DAY"
    yield f"CREATE USER {anonymous} ACCOUNT LOCK"
    plugin = "mysql_native_password USING '*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9'"
    yield f"CREATE USER {dash} IDENTIFIED {'VIA ' + plugin if dialect.mariadb else 'BY RANDOM PASSWORD'}"
    for role in ROLES:
        yield f"CREATE ROLE {role}"
    yield f"GRANT SELECT, SHOW VIEW ON {place}.* TO {ROLES[0]}"
    yield f"GRANT {ROLES[0]} TO {ROLES[1]}"
    yield f"GRANT INSERT ON {place}.watched TO {ROLES[1]}"
    yield f"GRANT {ROLES[1]} TO {odd} WITH ADMIN OPTION"
    yield f"SET DEFAULT ROLE {ROLES[1]} {'FOR' if dialect.mariadb else 'TO'} {odd}"
    yield f"GRANT SELECT (id, v), UPDATE (v) ON {place}.watched TO {app} WITH GRANT OPTION"
    yield f"GRANT EXECUTE ON FUNCTION {place}.`f odd ``name``` TO {app}"
    yield f"GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE {place}.`-rf` TO {dash}"
    yield f"GRANT PROCESS, RELOAD ON *.* TO {dash}"
    yield f"GRANT ALL ON {place}.* TO {dash} WITH GRANT OPTION"
    if dialect.mariadb:
        yield "SET sql_mode = 'ORACLE'"  # only so do older ones know the word
        yield f"GRANT EXECUTE ON PACKAGE {place}.pack TO {app}"
        yield "SET sql_mode = ''"
        yield f"GRANT SELECT ON {place}.* TO {anonymous}"
    else:
        yield "SET GLOBAL partial_revokes = ON"
        yield f"GRANT BACKUP_ADMIN, SELECT ON *.* TO {anonymous}"
        yield f"REVOKE SELECT ON mysql.* FROM {anonymous}"


def drop_statements() -> Iterator[str]:
    """What makes all of it gone."""
    yield from (f"DROP USER IF EXISTS {account}" for account in ACCOUNTS)
    yield from (f"DROP ROLE IF EXISTS {role}" for role in ROLES)


def picture_of_accounts(connection: Connection) -> dict[str, str]:
    """Account -> what the server shows of it and its grants, for those whose names have "dbtool" in them."""
    found = {}
    with connect_mysql(connection.with_database("mysql")) as session, session.cursor() as cursor:
        cursor.execute("SELECT CONCAT(VERSION(), @@version_comment)")
        [(version,)] = cursor.fetchall()
        mariadb = "mariadb" in str(version).lower()
        if not mariadb:
            cursor.execute("SET SESSION print_identified_with_as_hex = ON")
        kind = "is_role = 'Y'" if mariadb else "0"
        cursor.execute(
            f"SELECT User, Host, {kind} FROM mysql.user WHERE CONCAT(User, '@', Host) LIKE '%dbtool%'"
        )
        for user, host, role in cursor.fetchall():
            name = session.escape(user) + ("" if role == 1 else "@" + session.escape(host))
            lines = []
            if role != 1:
                cursor.execute(f"SHOW CREATE USER {name}")
                lines += [str(row[0]) for row in cursor.fetchall()]
            cursor.execute(f"SHOW GRANTS FOR {name}")
            found[name] = "\n".join(lines + sorted(str(row[0]) for row in cursor.fetchall()))
        if mariadb:
            cursor.execute("SELECT User, Host, default_role FROM mysql.user WHERE default_role <> ''")
            found |= {
                f"default role of {user}@{host}": str(default) for user, host, default in cursor.fetchall()
            }
    return found
