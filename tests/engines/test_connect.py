"""A server is reached by psycopg and by psql alike, or the error says what is wrong and what mends it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql as composed

from dbtool import process
from dbtool.engines.network import is_local
from dbtool.engines.postgres import connect
from dbtool.engines.postgres.tools import find_tool
from dbtool.errors import ConnectionFailedError, UsageError
from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

ROLE = "passwords"
AWKWARD = ":\\#*'\" $%@"


@pytest.fixture(scope="module")
def scram_server() -> Iterator[PostgresServer]:
    with PostgresServer.start(settings={"fsync": "off"}, authentication="scram-sha-256") as server:
        with connect.connect(server.connection()) as session:
            session.execute(f"CREATE ROLE {ROLE} LOGIN")
        yield server


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PostgresServer, Path]]:
    """A server whose certificate says that it is db.example.test, and the authority's certificate."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=db.example.test", "-addext", "subjectAltName=DNS:db.example.test"),
            *("-keyout", folder / "server.key", "-out", folder / "server.crt"),
        ],
        check=True,
        capture_output=True,
    )
    with PostgresServer.start(settings={"fsync": "off"}) as server:
        for name in ("server.key", "server.crt"):
            target = server.data_directory / name
            target.write_bytes((folder / name).read_bytes())
            target.chmod(0o600)
            owner = server.data_directory.stat()
            os.chown(target, owner.st_uid, owner.st_gid)
        server.stop()
        server.configure({"ssl": "on"})
        server.launch()
        yield server, folder / "server.crt"


def psql(connection: Connection, query: str) -> str:
    """What psql says, started as client programs are: nothing secret in its arguments."""
    tool = find_tool("psql", 130000)
    arguments = [str(tool.path), "-X", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-c", query]
    with connect.client_environment(connection) as environment:
        done = process.run([*arguments, f"--dbname={connection.database}"], environment=environment)
    return done.stdout.decode().strip()


def failure(connection: Connection) -> ConnectionFailedError:
    with pytest.raises(ConnectionFailedError) as caught:
        connect.connect(connection)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4
    return caught.value


def shown(session: Any, name: str) -> str:
    return str(session.execute(f"SHOW {name}").fetchone()[0])


# Passwords


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    password=st.text(
        st.one_of(
            st.sampled_from(AWKWARD),
            st.characters(exclude_categories=("Cs", "Cc", "Cf", "Cn", "Co", "Mn", "Zl", "Zp")),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_any_password_opens_the_door_for_psycopg_and_psql(
    scram_server: PostgresServer, password: str
) -> None:
    with connect.connect(scram_server.connection()) as session:
        session.execute(
            composed.SQL("ALTER ROLE {} PASSWORD {}").format(
                composed.Identifier(ROLE), composed.Literal(password)
            )
        )
    connection = replace(scram_server.connection("postgres", ROLE), password=password)
    with connect.connect(connection) as session:
        assert session.info.user == ROLE
    assert psql(connection, "SELECT current_user") == ROLE


@pytest.mark.parametrize("password", ["two\nlines", "end\r", "nul\0"])
def test_a_password_that_no_passfile_can_hold_is_refused(password: str) -> None:
    with pytest.raises(UsageError, match="line break"):
        connect.passfile_line(password)


def test_no_secret_is_in_arguments_or_environment_of_any_process(
    scram_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "Sesame-9f3a"
    with connect.connect(scram_server.connection()) as session:
        session.execute(f"ALTER ROLE {ROLE} PASSWORD '{secret}'")
    connection = replace(scram_server.connection("postgres", ROLE), password=secret)
    tool = find_tool("psql", 130000)
    with connect.client_environment(connection) as environment:
        passfile = Path(environment["PGPASSFILE"])
        assert passfile.stat().st_mode & 0o777 == 0o600
        assert passfile.parent.stat().st_mode & 0o777 == 0o700
        child = subprocess.Popen(
            [tool.path, "-X", "-w", "-c", "SELECT pg_sleep(20)", "--dbname=postgres"],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        try:
            with connect.connect(connection) as session:
                for _ in range(100):
                    running = session.execute(
                        "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'"
                    )
                    if running.fetchone() == (1,):
                        break
                    time.sleep(0.05)
                else:
                    pytest.fail("psql did not log in")
            for folder in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        assert secret.encode() not in (folder / name).read_bytes(), folder.name
                    except OSError:
                        continue
        finally:
            child.kill()
            child.wait()
    assert not passfile.exists()


def test_an_inherited_pgpassword_works_and_is_not_passed_on(
    scram_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = scram_server.connection()
    assert own.password
    monkeypatch.setenv("PGPASSWORD", own.password)
    connection = replace(own, password=None)
    with connect.client_environment(connection) as environment:
        assert "PGPASSWORD" not in environment
    assert psql(connection, "SELECT 1") == "1"


def test_the_passfile_of_the_connection_is_used(scram_server: PostgresServer, tmp_path: Path) -> None:
    own = scram_server.connection()
    assert own.password
    passfile = tmp_path / "pass file"
    process.write_private_file(passfile, connect.passfile_line(own.password).encode())
    connection = replace(own, password=None, passfile=str(passfile))
    with connect.connect(connection):
        pass
    assert psql(connection, "SELECT 1") == "1"


# What went wrong


def test_a_wrong_password(scram_server: PostgresServer) -> None:
    error = failure(replace(scram_server.connection(), password="wrong-one"))
    assert error.message == f'the password of user "postgres" is wrong for 127.0.0.1:{scram_server.port}'
    assert "wrong-one" not in f"{error.message}{error.hint}"


def test_a_missing_password(scram_server: PostgresServer) -> None:
    error = failure(replace(scram_server.connection(), password=None))
    assert "asks for a password" in error.message
    assert "DB_PASSWORD" in str(error.hint)


def test_nothing_listens(postgres_server: PostgresServer) -> None:
    error = failure(replace(postgres_server.connection(), port=1))
    assert error.message == "nothing listens at 127.0.0.1:1"
    error = failure(replace(postgres_server.connection(), host="/nonexistent folder"))
    assert error.message.startswith("nothing listens at /nonexistent folder/.s.PGSQL.")


def test_an_unknown_host(postgres_server: PostgresServer) -> None:
    error = failure(replace(postgres_server.connection(), host="nosuch.invalid"))
    assert error.message == f"the host of nosuch.invalid:{postgres_server.port} is not known"


def test_a_server_that_does_not_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        error = failure(Connection("postgres", "postgres", "127.0.0.1", port, connect_timeout_seconds=2))
    assert error.message == f"127.0.0.1:{port} did not answer within 2 seconds"


def test_an_unknown_database_offers_the_nearest(database: Connection) -> None:
    error = failure(replace(database, database=database.database + "x"))
    assert error.message.startswith(f'there is no database "{database.database}x"')
    assert f'Did you mean "{database.database}"' in str(error.hint)


def test_an_unknown_database_with_a_line_break_in_its_name(postgres_server: PostgresServer) -> None:
    assert 'there is no database "a\\x0ab"' in failure(postgres_server.connection("a\nb")).message


def test_unknown_user_and_forbidden_database_and_too_many(database: Connection, sql: Any) -> None:
    assert failure(replace(database, user="stranger")).message.startswith('there is no user "stranger"')
    sql(database, "CREATE ROLE limited LOGIN CONNECTION LIMIT 0; CREATE ROLE guest LOGIN")
    try:
        sql(database, f"REVOKE ALL ON DATABASE {database.database} FROM public")
        forbidden = failure(replace(database, user="guest"))
        assert forbidden.hint == f'GRANT CONNECT ON DATABASE "{database.database}" TO "guest";'
        sql(database, str(forbidden.hint))
        connect.connect(replace(database, user="guest")).close()
        many = failure(replace(database, user="limited"))
        assert "has no free connection" in many.message
    finally:
        sql(database, f"REVOKE ALL ON DATABASE {database.database} FROM guest")
        sql(database, "DROP ROLE limited; DROP ROLE guest")


def test_no_line_in_pg_hba(scram_server: PostgresServer) -> None:
    hba = scram_server.data_directory / "pg_hba.conf"
    before = hba.read_text()
    administration = connect.connect(scram_server.connection())
    try:
        hba.write_text("local all all scram-sha-256\n")
        administration.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)
        error = failure(scram_server.connection())
        assert "does not let us in: no pg_hba.conf entry" in error.message
        assert "pg_hba.conf" in str(error.hint)
    finally:
        hba.write_text(before)
        administration.execute("SELECT pg_reload_conf()")
        administration.close()
        time.sleep(0.3)


# TLS


def test_which_hosts_are_this_machine() -> None:
    for host in (
        None,
        "",
        "/run/postgresql",
        "@abstract",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "127.0.0.9",
        "::1",
    ):
        assert is_local(host), host
    for host in ("db.example.test", "10.0.0.1", "::2", "localhost.example.test", "128.0.0.1"):
        assert not is_local(host), host


def test_another_machine_must_prove_who_it_is(
    tls_server: tuple[PostgresServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = tls_server
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    remote = replace(server.connection(), host="db.example.test")
    error = failure(remote)
    assert "did not prove who it is" in error.message
    assert "DB_SSLROOTCERT" in str(error.hint)
    assert "DB_SSLMODE=require" in str(error.hint)

    known = replace(remote, tls_root_certificate=str(authority))
    with connect.connect(known) as session:
        assert session.pgconn.ssl_in_use
    encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert psql(known, encrypted) == "t"
    assert psql(replace(remote, tls_mode="require"), encrypted) == "t"
    assert psql(replace(remote, tls_mode="disable"), encrypted) == "f"
    with pytest.raises(process.ProgramFailedError, match="certificate verify failed"):
        psql(remote, encrypted)

    other = replace(known, host="other.example.test")
    assert "did not prove who it is" in failure(other).message


def test_another_machine_without_tls_is_refused_until_that_is_meant(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    remote = replace(postgres_server.connection(), host="db.example.test")
    error = failure(remote)
    assert "does not offer TLS" in error.message
    assert "DB_SSLMODE=disable" in str(error.hint)
    connect.connect(replace(remote, tls_mode="disable")).close()
    monkeypatch.setenv("PGSSLMODE", "prefer")
    connect.connect(remote).close()


# libpq's own ways


def test_a_service_reaches_the_same_server_for_both(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "services"
    file.write_text(
        "# ours\n[other]\nhost=nowhere.invalid\n[mine]\n"
        f"host=127.0.0.1\nport={postgres_server.port}\nuser=postgres\ndbname=ignored\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    monkeypatch.setenv("PGHOST", "nowhere.invalid")
    by_name = Connection("postgres", "postgres", service="mine")
    assert connect.connect(by_name).info.port == postgres_server.port
    assert psql(by_name, "SHOW port") == str(postgres_server.port)
    explicit = replace(by_name, service="other", host="127.0.0.1", port=postgres_server.port, user="postgres")
    assert psql(explicit, "SHOW port") == str(postgres_server.port)
    monkeypatch.setenv("PGSERVICE", "mine")
    assert psql(Connection("postgres", "postgres"), "SHOW port") == str(postgres_server.port)
    with pytest.raises(UsageError, match="'nothing' is not defined"):
        connect.connect(Connection("postgres", "postgres", service="nothing"))


def test_somebodys_shell_does_not_change_what_sessions_do(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "psqlrc").write_text("\\echo hello\n")
    for name, value in {
        "PGOPTIONS": "-c search_path=evil -c statement_timeout=1",
        "PGDATESTYLE": "German",
        "PGCLIENTENCODING": "LATIN1",
        "PGTZ": "Asia/Tokyo",
        "PGDATABASE": "nowhere",
        "PSQLRC": str(tmp_path / "psqlrc"),
    }.items():
        monkeypatch.setenv(name, value)
    connection = postgres_server.connection()
    assert psql(connection, "SHOW search_path") == '"$user", public'
    assert psql(connection, "SHOW DateStyle") == "ISO, MDY"
    with connect.connect(connection) as session:
        assert shown(session, "search_path") == '"$user", public'
        assert shown(session, "client_encoding") == "UTF8"


# The session of a backup


@pytest.mark.parametrize("loading", [False, True])
def test_a_backup_session_has_no_limits_and_exact_values(
    matrix_server: PostgresServer, make_database: Any, sql: Any, loading: bool
) -> None:
    database = make_database(matrix_server, None, "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    # A limit that would end the very statement that lifts it is nobody's; a minute is.
    for setting in (
        "statement_timeout = 60000",
        "DateStyle = German",
        "bytea_output = escape",
        "lc_monetary = 'C.UTF-8'",
    ):
        sql(database, f"ALTER DATABASE {database.database} SET {setting}")
    with connect.connect(database) as session:
        connect.backup_session_settings(session, loading=loading)
        for name, value in {
            "search_path": '""',
            "client_encoding": "LATIN1",
            "DateStyle": "ISO, YMD",
            "TimeZone": "UTC",
            "bytea_output": "hex",
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            "row_security": "off",
            "lc_monetary": "C",
        }.items():
            assert shown(session, name) in (value, ""), name
        if matrix_server.major >= 17:
            assert shown(session, "transaction_timeout") == "0"
            kinds = shown(session, "restrict_nonsystem_relation_kind")
            assert ("view" in kinds) is not loading


def test_a_fast_start_does_not_need_the_driver() -> None:
    script = (
        "import sys, dbtool.engines.postgres.connect\n"
        "sys.exit(any(heavy in sys.modules for heavy in ('psycopg', 'ssl')))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
