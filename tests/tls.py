"""A throw-away PostgreSQL that speaks TLS, with a certificate that it signed itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import CARELESS_SETTINGS

from dbtool.servers import base
from dbtool.servers.postgres import PostgresServer


@contextmanager
def tls_server(folder: Path) -> Iterator[tuple[PostgresServer, Path]]:
    """A running server and the file of its certificate; `folder` is empty."""
    certificate, key = self_signed(folder)
    with PostgresServer.start(settings=CARELESS_SETTINGS) as server:
        server.stop()
        for file in (certificate, key):
            inside = server.data_directory / file.name
            inside.touch(mode=0o600)
            inside.write_bytes(file.read_bytes())
            base.give_away(inside)
        server.configure({"ssl": "on"})
        server.launch()
        yield server, certificate


def self_signed(folder: Path) -> tuple[Path, Path]:
    """The files of a new certificate for this machine, and of its key."""
    certificate, key = folder / "server.crt", folder / "server.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
