"""A server is reached by the driver and by the client program alike, or the error says what is wrong."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import start_mysql
from tests.tls import self_signed

from dbtool import process
from dbtool.engines.mysql import connect, option_files
from dbtool.engines.mysql.flavour import flavour_from, flavour_of
from dbtool.engines.mysql.quoting import qualified, quote_identifier, quote_literal
from dbtool.engines.mysql.session import MysqlSession
from dbtool.errors import ConnectionFailedError, DbtoolError, SqlError, UsageError
from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer

Sql = Callable[..., "list[tuple[Any, ...]]"]
MakeDatabase = Callable[..., Connection]

AWKWARD = "\\#;'\" =\t\n$%@`é€😀!"


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost and 127.0.0.1, signed by itself, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_server(tls_files: tuple[Path, Path]) -> Iterator[MysqlServer]:
    with start_mysql("mariadb", {"plugin_load_add": "auth_ed25519"}, tls=tls_files) as server:
        yield server


def client(connection: Connection, query: str) -> str:
    """What the mysql client says; nothing secret is in its arguments."""
    program = shutil.which("mariadb") or shutil.which("mysql")
    assert program
    with connect.client_option_file(connection) as file:
        arguments = [
            program,
            f"--defaults-file={file}",
            "--batch",
            "--raw",
            "--skip-column-names",
            "-e",
            query,
        ]
        return process.run([*arguments, f"--database={connection.database}"]).stdout.decode().rstrip("\n")


def failure(connection: Connection) -> ConnectionFailedError:
    with pytest.raises(ConnectionFailedError) as caught:
        connect.connect(connection)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4
    return caught.value


def asked(connection: Connection, query: str) -> Any:
    with connect.connect(connection) as session, session.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
        assert row
        return row[0]


@contextmanager
def account(sql: Sql, server: MysqlServer, user: str, how: str) -> Iterator[Connection]:
    """An account that lasts as long as this."""
    sql(server.connection(), f"CREATE USER '{user}'@'%' IDENTIFIED {how}")
    sql(server.connection(), f"GRANT SELECT ON mysql.* TO '{user}'@'%'")
    try:
        yield server.connection("mysql", user)
    finally:
        sql(server.connection(), f"DROP USER '{user}'@'%'")


# Quoting


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_names_and_values_are_quoted_so_that_the_splitter_sees_one_token(text: str) -> None:
    from dbtool.engines import lexical

    for quoted in (quote_literal(text), quote_identifier(text)):
        (token,) = lexical.tokens(quoted, "mysql")
        assert not token.is_open
    assert qualified("a`b", "c") == "`a``b`.`c`"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_value_comes_out_as_it_went_in(mariadb_server: MysqlServer, text: str) -> None:
    assert asked(mariadb_server.connection(), f"SELECT {quote_literal(text)}") == text


def test_which_flavour_and_version() -> None:
    for version, comment, expected in (
        ("10.11.19-MariaDB-0+deb12u1", "Debian 12", "MariaDB 10.11.19"),
        ("5.5.5-10.6.1-MariaDB", "", "MariaDB 10.6.1"),
        ("9.7.4", "MySQL Community Server - GPL", "MySQL 9.7.4"),
        ("8.0.36-28.1", "Percona Server (GPL)", "MySQL 8.0.36"),
        ("11.8.6", "mariadb.org binary distribution", "MariaDB 11.8.6"),
    ):
        assert flavour_from(version, comment).label == expected
    assert flavour_from("10.11.19-MariaDB", "").version_number == 101119
    assert flavour_from("9.7.4", "").version_number == 90704
    with pytest.raises(ConnectionFailedError):
        flavour_from("PostgreSQL", "")


# Passwords, and ways to log in


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    password=st.text(
        st.one_of(
            st.sampled_from(AWKWARD), st.characters(exclude_categories=["Cs"], exclude_characters="\0")
        ),
        min_size=1,
        max_size=30,
    )
)
def test_any_password_opens_the_door_for_driver_and_client(
    mariadb_server: MysqlServer, mysql_sql: Sql, password: str
) -> None:
    administrator = mariadb_server.connection()
    mysql_sql(administrator, "CREATE OR REPLACE USER 'passwords'@'%'")
    mysql_sql(administrator, "SET PASSWORD FOR 'passwords'@'%%' = PASSWORD(%s)", (password,))
    mysql_sql(administrator, "GRANT SELECT ON mysql.* TO 'passwords'@'%'")
    connection = replace(mariadb_server.connection("mysql", "passwords"), password=password)
    assert asked(connection, "SELECT CURRENT_USER()") == "passwords@%"
    assert client(connection, "SELECT CURRENT_USER()") == "passwords@%"


def test_a_password_that_no_option_file_can_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="NUL"):
        option_files.file_text({"password": "nul\0"})


@given(st.dictionaries(st.sampled_from(["user", "password", "host"]), st.text(max_size=20), max_size=3))
def test_what_is_written_in_an_option_file_is_read_from_it(options: dict[str, str]) -> None:
    import tempfile

    options = {name: value.replace("\0", "") for name, value in options.items()}
    options = {name: value.encode("utf-8", "ignore").decode() for name, value in options.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "my.cnf"
        file.write_text(option_files.file_text(options), encoding="utf-8", newline="")
        assert option_files.read(file) == options


@pytest.mark.parametrize(
    "how", ["VIA mysql_native_password USING PASSWORD('se cret')", "VIA ed25519 USING PASSWORD('se cret')"]
)
@pytest.mark.parametrize("tls_mode", ["disable", "require"])
def test_the_ways_of_mariadb_to_log_in(
    tls_server: MysqlServer, mysql_sql: Sql, how: str, tls_mode: str
) -> None:
    with account(mysql_sql, tls_server, "somebody", how) as connection:
        known = replace(connection, password="se cret", tls_mode=tls_mode)
        assert asked(known, "SELECT CURRENT_USER()") == "somebody@%"
        encrypted = asked(
            known,
            "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'",
        )
        assert bool(encrypted) == (tls_mode == "require")
        over_socket = tls_server.connection("mysql", "somebody", through_socket=True)
        assert asked(replace(over_socket, password="se cret"), "SELECT 1") == 1
        assert "refuses user" in failure(replace(known, password="wrong")).message


@pytest.mark.parametrize("tls_mode", ["disable", "require", None])
def test_the_way_of_mysql_to_log_in(mysql_server: MysqlServer, mysql_sql: Sql, tls_mode: str | None) -> None:
    with account(
        mysql_sql, mysql_server, "somebody", "WITH caching_sha2_password BY 'se cret'"
    ) as connection:
        known = replace(connection, password="se cret", tls_mode=tls_mode)
        for _ in range(2):
            for _ in range(2):  # with nothing in the server's cache, and with it
                assert asked(known, "SELECT CURRENT_USER()") == "somebody@%"
            mysql_sql(mysql_server.connection(), "FLUSH PRIVILEGES")
        over_socket = mysql_server.connection("mysql", "somebody", through_socket=True)
        assert asked(replace(over_socket, password="se cret"), "SELECT 1") == 1
        assert "refuses user" in failure(replace(known, password="wrong")).message
    with account(mysql_sql, mysql_server, "empty", "WITH caching_sha2_password BY ''") as connection:
        assert asked(replace(connection, tls_mode=tls_mode), "SELECT 1") == 1


@pytest.mark.parametrize(
    ("name", "plugin"),
    [("mariadb", "unix_socket"), pytest.param("mysql97", "auth_socket", marks=pytest.mark.matrix)],
)
def test_the_socket_lets_the_systems_user_in(mysql_sql: Sql, name: str, plugin: str) -> None:
    user = getpass.getuser()
    with start_mysql(name, {"plugin_load_add": "auth_socket.so"}) as server:
        mysql_sql(
            server.connection(),
            [
                f"CREATE USER IF NOT EXISTS '{user}'@'localhost'",
                f"GRANT SELECT ON mysql.* TO '{user}'@'localhost'",
                f"ALTER USER '{user}'@'localhost' IDENTIFIED WITH {plugin}",
            ],
        )
        by_socket = server.connection("mysql", user, through_socket=True)
        assert asked(by_socket, "SELECT CURRENT_USER()") == f"{user}@localhost"
        folder = replace(by_socket, host=str(server.socket_file.parent))
        assert asked(folder, "SELECT 1") == 1
        assert client(folder, "SELECT 1") == "1"
        error = failure(server.connection("mysql", user))
        assert "--host /run/mysqld" in str(error.hint)


def test_a_stranger_over_the_socket_is_told_so(mariadb_server: MysqlServer, mysql_sql: Sql) -> None:
    mysql_sql(
        mariadb_server.connection(),
        "CREATE OR REPLACE USER 'stranger'@'localhost' IDENTIFIED VIA unix_socket",
    )
    try:
        error = failure(mariadb_server.connection("mysql", "stranger", through_socket=True))
        assert "does not take us for" in error.message
    finally:
        mysql_sql(mariadb_server.connection(), "DROP USER 'stranger'@'localhost'")


def test_no_secret_is_in_arguments_or_environment_of_any_process(
    mariadb_server: MysqlServer, mysql_sql: Sql
) -> None:
    secret = "Sesame-9f3a"
    with account(mysql_sql, mariadb_server, "somebody", f"BY '{secret}'") as connection:
        known = replace(connection, password=secret)
        program = shutil.which("mariadb") or ""
        with connect.client_option_file(known) as file:
            assert file.stat().st_mode & 0o777 == 0o600
            assert file.parent.stat().st_mode & 0o777 == 0o700
            child = subprocess.Popen(
                [program, f"--defaults-file={file}", "-e", "SELECT SLEEP(20)", "mysql"],
                stdout=subprocess.DEVNULL,
            )
            try:
                query = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP%%'"
                for _ in range(100):
                    if mysql_sql(mariadb_server.connection(), query) == [(1,)]:
                        break
                    time.sleep(0.05)
                else:
                    pytest.fail("the client did not log in")
                for folder in Path("/proc").glob("[0-9]*"):
                    for name in ("cmdline", "environ"):
                        try:
                            assert secret.encode() not in (folder / name).read_bytes(), folder.name
                        except OSError:
                            continue
            finally:
                child.kill()
                child.wait()
        assert not file.exists()


# The user's option file


def my_cnf(text: str, mode: int = 0o600) -> Path:
    file = Path(os.environ["HOME"]) / ".my.cnf"
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.fixture
def own_file() -> Iterator[None]:
    yield
    (Path(os.environ["HOME"]) / ".my.cnf").unlink(missing_ok=True)


@pytest.mark.usefixtures("own_file")
def test_the_users_option_file_says_what_the_settings_do_not(
    mariadb_server: MysqlServer, mysql_sql: Sql
) -> None:
    with account(mysql_sql, mariadb_server, "filed", "BY 'it\\'s #1'"):
        my_cnf(
            f'[mysqld]\nport=1\n# ours\n[client]\nuser = filed\npassword="it\'s #1" # really\n'
            f"host=127.0.0.1\nport={mariadb_server.port}\n"
        )
        bare = Connection("mysql", "mysql")
        assert asked(bare, "SELECT CURRENT_USER()") == "filed@%"
        assert client(bare, "SELECT CURRENT_USER()") == "filed@%"
        named = replace(bare, user="root", password="wrong")
        assert 'refuses user "root"' in failure(named).message
        elsewhere = replace(bare, host="127.0.0.1", port=1)
        assert failure(elsewhere).message == "nothing listens at 127.0.0.1:1"
        other = Path(os.environ["HOME"]) / "other.cnf"
        other.write_text(f"[client]\nsocket={mariadb_server.socket_file}\nuser=root\n")
        assert asked(replace(bare, passfile=str(other)), "SELECT USER()") == "root@localhost"


@pytest.mark.usefixtures("own_file")
def test_an_option_file_that_anybody_can_change_is_refused() -> None:
    my_cnf("[client]\nhost=elsewhere\n", 0o666)
    with pytest.raises(UsageError, match="others can change it"):
        connect.resolve(Connection("mysql", "d"))


@pytest.mark.usefixtures("own_file")
def test_where_a_server_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def place(**given: Any) -> tuple[str, str]:
        address = connect.resolve(Connection("mysql", "d", **given))
        return address.place, address.tls_mode

    monkeypatch.setattr(connect, "default_socket", lambda: "/run/mysqld/mysqld.sock")
    assert place() == ("/run/mysqld/mysqld.sock", "disable")
    assert place(host="localhost") == ("/run/mysqld/mysqld.sock", "disable")
    assert place(host="localhost", port=3307) == ("localhost:3307", "prefer")
    assert place(host="127.0.0.1") == ("127.0.0.1:3306", "prefer")
    assert place(host="/somewhere/my.sock") == ("/somewhere/my.sock", "disable")
    assert place(host="db.example.test") == ("db.example.test:3306", "verify-full")
    assert place(host="db.example.test", tls_mode="require") == ("db.example.test:3306", "require")
    my_cnf("[client]\nssl-mode=REQUIRED\nport=3310\nssl_ca=/ca.pem\n")
    assert place(host="db.example.test") == ("db.example.test:3306", "require")
    assert place() == ("localhost:3310", "require")
    assert connect.resolve(Connection("mysql", "d")).tls_root_certificate == "/ca.pem"
    monkeypatch.setattr(connect, "default_socket", lambda: None)
    assert place(host="localhost") == ("localhost:3306", "require")


def test_a_password_of_the_environment_is_taken_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_PWD", "inherited")
    assert connect.resolve(Connection("mysql", "d")).password == "inherited"
    assert connect.resolve(Connection("mysql", "d", password="given")).password == "given"


# What went wrong


def test_a_wrong_and_a_missing_password(mariadb_server: MysqlServer, mysql_sql: Sql) -> None:
    with account(mysql_sql, mariadb_server, "somebody", "BY 'right'") as connection:
        error = failure(replace(connection, password="wrong-one"))
        assert error.message.startswith(
            f'the server at 127.0.0.1:{mariadb_server.port} refuses user "somebody"'
        )
        assert "wrong-one" not in f"{error.message}{error.hint}"
        missing = failure(connection)
        assert "without a password" in missing.message
        assert "DB_PASSWORD" in str(missing.hint)


def test_nothing_listens(mariadb_server: MysqlServer) -> None:
    connection = mariadb_server.connection()
    assert failure(replace(connection, port=1)).message == "nothing listens at 127.0.0.1:1"
    error = failure(replace(connection, host="/nonexistent folder", port=None))
    assert error.message == "nothing listens at /nonexistent folder"


def test_an_unknown_host() -> None:
    error = failure(Connection("mysql", "d", "nosuch.invalid", 3306))
    assert error.message == "the host of nosuch.invalid:3306 is not known"


def test_a_server_that_does_not_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        error = failure(Connection("mysql", "d", "127.0.0.1", port, connect_timeout_seconds=1))
    assert error.message == f"127.0.0.1:{port} did not answer within 1 seconds"


@pytest.mark.parametrize(
    ("greeting", "expected"), [(b"SSH-2.0-OpenSSH_9.2p1\r\n", "speak MySQL"), (b"", "without a word")]
)
def test_something_else_listens(greeting: bytes, expected: str) -> None:
    with serving(lambda peer: peer.sendall(greeting)) as port:
        error = failure(Connection("mysql", "d", "127.0.0.1", port, connect_timeout_seconds=2))
    assert expected in error.message


def test_an_unknown_database_offers_the_nearest(mysql_database: Connection) -> None:
    error = failure(replace(mysql_database, database=mysql_database.database + "x"))
    assert error.message.startswith(f'there is no database "{mysql_database.database}x"')
    assert f'Did you mean "{mysql_database.database}"' in str(error.hint)
    assert 'there is no database "a\\x0ab"' in failure(replace(mysql_database, database="a\nb")).message
    connect.connect(replace(mysql_database, database="nowhere"), database=False).close()


def test_a_forbidden_database_and_too_many_and_a_locked_account(
    mysql_database: Connection, mysql_sql: Sql
) -> None:
    root = mysql_database
    mysql_sql(
        root,
        "CREATE USER guest; CREATE USER limited WITH MAX_USER_CONNECTIONS 1; GRANT SELECT ON *.* TO limited;"
        "CREATE USER locked ACCOUNT LOCK",
    )
    try:
        forbidden = failure(replace(root, user="guest"))
        assert "may not use database" in forbidden.message
        assert str(forbidden.hint).startswith(f"GRANT SELECT ON `{root.database}`.* TO 'guest'@")
        with connect.connect(replace(root, user="limited")):
            assert "has no free connection" in failure(replace(root, user="limited")).message
        assert "is locked" in failure(replace(root, user="locked")).message
    finally:
        mysql_sql(root, "DROP USER guest, limited, locked")


def test_a_way_to_log_in_that_is_not_known() -> None:
    with (
        pytest.raises(ConnectionFailedError, match="method that dbtool does not know") as caught,
        malicious("authentication_gss_client") as server,
    ):
        connect.connect(server.connection)
    assert "authentication_gss_client" in caught.value.message
    assert "parsec" in str(caught.value.hint)


@pytest.mark.matrix
@pytest.mark.parametrize("tls_mode", ["disable", "require"])
def test_parsec(mysql_sql: Sql, tls_mode: str) -> None:
    with start_mysql("mariadb118", {"plugin_load_add": "auth_parsec.so"}) as server:
        how = "VIA parsec USING PASSWORD('se crét')"
        with account(mysql_sql, server, "somebody", how) as connection:
            known = replace(connection, password="se crét", tls_mode=tls_mode)
            assert asked(known, "SELECT CURRENT_USER()") == "somebody@%"
            over_socket = server.connection("mysql", "somebody", through_socket=True)
            assert asked(replace(over_socket, password="se crét"), "SELECT 1") == 1
            assert "refuses user" in failure(replace(known, password="wrong")).message
            assert "without a password" in failure(replace(known, password=None)).message


def test_a_server_that_only_says_parsec_is_refused() -> None:
    with malicious("parsec") as server:
        failure(server.connection)
        assert not any(b"the password" in content for content in server.heard)


# A server, or somebody in between, that is up to something


@contextmanager
def serving(act: Callable[[socket.socket], object]) -> Iterator[int]:
    """One connection to a port of this machine, served by `act`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer:
                    try:
                        act(peer)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]


class Malicious:
    """Speaks enough of the protocol to ask for what it should not get; keeps what it was sent."""

    def __init__(self, plugin: str | None) -> None:
        self.plugin = plugin
        self.heard: list[bytes] = []
        self.connection = Connection("mysql", "d", "127.0.0.1", 1, user="u", password="the password")

    def send(self, peer: socket.socket, number: int, content: bytes) -> None:
        peer.sendall(len(content).to_bytes(3, "little") + bytes([number]) + content)

    def receive(self, peer: socket.socket) -> bytes:
        head = peer.recv(4, socket.MSG_WAITALL)
        content = peer.recv(int.from_bytes(head[:3], "little"), socket.MSG_WAITALL) if len(head) == 4 else b""
        if not content:
            raise OSError
        self.heard.append(content)
        return content

    def serve(self, peer: socket.socket) -> None:
        capabilities = 0x00FFFFFF & ~0x0800 & ~0x0020  # no TLS, no compression
        salt = b"12345678901234567890"
        self.send(
            peer,
            0,
            b"\x0a10.11.0-MariaDB\0\1\0\0\0"
            + salt[:8]
            + b"\0"
            + (capabilities & 0xFFFF).to_bytes(2, "little")
            + b"\x2d\2\0"
            + (capabilities >> 16).to_bytes(2, "little")
            + b"\x15"
            + bytes(10)
            + salt[8:]
            + b"\0mysql_native_password\0",
        )
        self.receive(peer)
        if self.plugin:
            self.send(peer, 2, b"\xfe" + self.plugin.encode() + b"\0" + salt + b"\0")
            self.receive(peer)
            self.send(peer, 4, b"\0\0\0\2\0\0\0")
        else:
            self.send(peer, 2, b"\0\0\0\2\0\0\0")
        while True:
            command = self.receive(peer)
            if command.startswith(b"\3SELECT VERSION"):
                self.rows(peer, [b"10.11.0-MariaDB", b"x"])
            elif command.startswith(b"\3SELECT"):
                self.send(peer, 1, b"\xfb/etc/passwd")
                self.receive_any(peer)
                self.send(peer, 3, b"\0\0\0\2\0\0\0")
            else:
                self.send(peer, 1, b"\0\0\0\2\0\0\0")

    def receive_any(self, peer: socket.socket) -> None:
        head = peer.recv(4, socket.MSG_WAITALL)
        self.heard.append(b"file:" + peer.recv(int.from_bytes(head[:3], "little"), socket.MSG_WAITALL))

    def rows(self, peer: socket.socket, values: list[bytes]) -> None:
        def text(value: bytes) -> bytes:
            return bytes([len(value)]) + value

        self.send(peer, 1, bytes([len(values)]))
        number = 2
        for _ in values:
            column = (
                text(b"def") + text(b"") * 3 + text(b"v") + text(b"v") + b"\x0c\x2d\0\x40\0\0\0\xfd\0\0\0\0\0"
            )
            self.send(peer, number, column)
            number += 1
        self.send(peer, number, b"\xfe\0\0\2\0")
        self.send(peer, number + 1, b"".join(map(text, values)))
        self.send(peer, number + 2, b"\xfe\0\0\2\0")


@contextmanager
def malicious(plugin: str | None) -> Iterator[Malicious]:
    server = Malicious(plugin)
    with serving(server.serve) as port:
        server.connection = replace(server.connection, port=port)
        yield server


@pytest.mark.parametrize("plugin", ["mysql_clear_password", "dialog", "mysql_old_password"])
def test_nobody_gets_the_password_by_asking_for_it(plugin: str) -> None:
    with malicious(plugin) as server:
        error = failure(server.connection)
        assert error.message.startswith("refused to log in")
        assert not any(b"the password" in content for content in server.heard)


def test_nobody_gets_a_file_by_asking_for_it() -> None:
    with malicious(None) as server:
        session = MysqlSession(server.connection)
        with pytest.raises(SqlError, match="asked for a file"):
            list(session.run("SELECT 1"))
        session.close()
        assert b"file:" in server.heard


# TLS


def test_another_machine_must_prove_who_it_is(
    tls_server: MysqlServer, tls_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving = socket.getaddrinfo

    def resolved(host: Any, *rest: Any, **more: Any) -> Any:
        return resolving("127.0.0.1" if str(host).endswith("example.test") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    remote = replace(tls_server.connection(), host="db.example.test")
    error = failure(remote)
    assert "did not prove who it is" in error.message
    assert "DB_SSLROOTCERT" in str(error.hint)
    assert "DB_SSLMODE=require" in str(error.hint)

    authority = str(tls_files[0])
    assert "did not prove who it is" in failure(replace(remote, tls_root_certificate=authority)).message
    asked(replace(remote, tls_root_certificate=authority, tls_mode="verify-ca"), "SELECT 1")
    asked(replace(remote, tls_mode="require"), "SELECT 1")
    own_name = replace(tls_server.connection(), tls_root_certificate=authority, tls_mode="verify-full")
    cipher = "SHOW STATUS LIKE 'Ssl_cipher'"
    with connect.connect(own_name) as session, session.cursor() as cursor:
        cursor.execute(cipher)
        assert cursor.fetchall()[0][1]
    assert client(own_name, cipher).partition("\t")[2]
    assert not client(replace(own_name, tls_mode="disable"), cipher).partition("\t")[2]
    with pytest.raises(UsageError, match="cannot use the TLS files"):
        connect.connect(replace(own_name, tls_root_certificate="/nonexistent.pem"))


def test_a_server_without_tls_is_refused_until_that_is_meant(mariadb_server: MysqlServer) -> None:
    connection = mariadb_server.connection()
    error = failure(replace(connection, tls_mode="require"))
    assert "does not offer TLS" in error.message
    assert "DB_SSLMODE=disable" in str(error.hint)
    for mode in ("disable", "prefer", "allow", None):
        connect.connect(replace(connection, tls_mode=mode)).close()


def test_rows_stream_over_tls(tls_server: MysqlServer) -> None:
    session = MysqlSession(replace(tls_server.connection(), tls_mode="require"))
    (result,) = session.run("SELECT seq, REPEAT('x', 100) FROM seq_1_to_200000")
    assert sum(len(batch) for batch in result.batches()) == 200_000
    (result,) = session.run("SELECT seq FROM seq_1_to_1000000000000")
    next(iter(result.rows()))
    result.close()
    assert list(next(session.run("SELECT 1")).rows()) == [("1",)]
    session.close()


# The session of a backup


@pytest.mark.parametrize("loading", [False, True])
def test_a_backup_session_has_no_limits_and_exact_values(
    mysql_matrix_server: MysqlServer, mysql_sql: Sql, loading: bool
) -> None:
    connection = mysql_matrix_server.connection()
    is_mariadb = mysql_matrix_server.flavour_name == "mariadb"
    unusual = {
        "sql_mode": "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'",
        "time_zone": "'+05:00'",
        "sql_select_limit": "7",
        "net_write_timeout": "60",
        "wait_timeout": "60",
        "max_statement_time" if is_mariadb else "max_execution_time": "60000",
        "completion_type": "'CHAIN'",
    }
    if not is_mariadb:
        unusual |= {"sql_require_primary_key": "ON", "sql_generate_invisible_primary_key": "ON"}
    before = {name: mysql_sql(connection, f"SELECT @@GLOBAL.{name}")[0][0] for name in unusual}
    for name, value in unusual.items():
        mysql_sql(connection, f"SET GLOBAL {name} = {value}")
    try:
        with connect.connect(connection) as session, session.cursor() as cursor:
            if loading:
                connect.load_session_settings(session, flavour_of(session))
            else:
                connect.dump_session_settings(session)
            cursor.execute(
                "SELECT @@sql_mode, @@time_zone, @@sql_select_limit, @@wait_timeout, @@net_write_timeout,"
                " @@completion_type, @@autocommit, @@character_set_client"
            )
            (row,) = cursor.fetchall()
            assert row == (
                "NO_AUTO_VALUE_ON_ZERO" if loading else "",
                *("+00:00", 2**64 - 1, 31536000, 31536000, "NO_CHAIN", 1, "utf8mb4"),
            )
            limit = "max_statement_time" if is_mariadb else "max_execution_time"
            cursor.execute(f"SELECT @@{limit}, @@foreign_key_checks, @@unique_checks")
            assert cursor.fetchone() == (0, int(not loading), int(not loading or is_mariadb))
            if loading and not is_mariadb:
                cursor.execute("SELECT @@sql_require_primary_key, @@sql_generate_invisible_primary_key")
                assert cursor.fetchone() == (0, 0)
    finally:
        for name, value in before.items():
            shown = value if isinstance(value, (int, float)) else f"'{value}'"
            mysql_sql(connection, f"SET GLOBAL {name} = {shown}")


def test_an_account_without_rights_sets_what_it_may(mysql_matrix_server: MysqlServer, mysql_sql: Sql) -> None:
    root = mysql_matrix_server.connection()
    mysql_sql(root, "CREATE USER guest")
    is_mariadb = mysql_matrix_server.flavour_name == "mariadb"
    if not is_mariadb:
        mysql_sql(root, "SET GLOBAL sql_require_primary_key = ON")
    try:
        with connect.connect(mysql_matrix_server.connection("", "guest"), database=False) as session:
            connect.load_session_settings(session, flavour_of(session))
            with session.cursor() as cursor:
                cursor.execute("SELECT @@sql_mode, @@time_zone")
                assert cursor.fetchone() == ("NO_AUTO_VALUE_ON_ZERO", "+00:00")
    finally:
        if not is_mariadb:
            mysql_sql(root, "SET GLOBAL sql_require_primary_key = OFF")
        mysql_sql(root, "DROP USER guest")


def test_errors_of_statements_are_put_into_words(mysql_database: Connection) -> None:
    import pymysql

    with connect.connect(mysql_database) as session:
        with pytest.raises(pymysql.MySQLError) as caught:
            session.query("SELECT * FROM nothing")
        error = connect.explain(caught.value, "looking at nothing")
        assert isinstance(error, SqlError)
        assert error.message.startswith("looking at nothing failed: Table")
    with pytest.raises(pymysql.MySQLError) as lost:
        session.query("SELECT 1")
    assert isinstance(connect.explain(lost.value), ConnectionFailedError)
    assert isinstance(connect.explain(error), DbtoolError)


def test_a_fast_start_does_not_need_the_driver() -> None:
    script = (
        "import sys, dbtool.engines.mysql.connect, dbtool.engines.mysql.session\n"
        "sys.exit(any(heavy in sys.modules for heavy in ('pymysql', 'ssl')))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
