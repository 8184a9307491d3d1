"""Hosts and certificate authorities, as every engine's resolver looks at them."""

from __future__ import annotations

from pathlib import Path

# A server that only this machine can reach needs no certificate to be believed.
_LOCAL_NAMES = ("localhost", "localhost.localdomain")


def is_local(host: str | None) -> bool:
    """Whether a host is this machine: a Unix socket, or a loopback address or name."""
    if not host or host.startswith(("/", "@")):
        return True
    name = host.lower().rstrip(".")
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def machine_root_certificates() -> str | None:
    """The file with this machine's certificate authorities, where there is one."""
    import ssl

    paths = ssl.get_default_verify_paths()
    candidates = (
        paths.cafile,
        paths.openssl_cafile,
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    )
    return next((path for path in candidates if path and Path(path).is_file()), None)
