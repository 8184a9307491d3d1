"""From what a user writes for a repository to the Store that keeps it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dbtool.errors import NotFoundError, StorageError, UsageError
from dbtool.storage.base import Store
from dbtool.storage.local import LocalStore, make_folder, translated
from dbtool.text import printable

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=://)")
_LATER = ("s3", "gs", "az", "sftp")


def local_path(url_or_path: str) -> Path:
    """The absolute directory that a path or a `file:///…` URL means; `~` is expanded.

    Raises `UsageError` for any other URL and for what cannot be a path.
    """
    if not url_or_path or "\0" in url_or_path:
        raise UsageError("the repository's path is empty or holds a NUL", "give a directory with -path")
    scheme = _SCHEME.match(url_or_path)
    if scheme is None:
        return Path(os.path.normpath(Path(url_or_path).expanduser().absolute()))
    name = scheme.group().lower()
    if name in _LATER:
        raise UsageError(f"{name}:// repositories are not supported in this version", "use a local directory")
    if name != "file":
        raise UsageError(f"{name}:// is no kind of repository", "use a local directory or a file:/// URL")
    parts = urlsplit(url_or_path.replace("?", "%3F").replace("#", "%23"))
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise UsageError(
            f"{printable(url_or_path)} names another machine", "write file:///path, with three slashes"
        )
    return Path(os.path.normpath(unquote(parts.path, errors="surrogateescape")))


def open_store(url_or_path: str, create: bool = False) -> Store:
    """The Store of a repository.

    With `create`, a missing directory is made (0700, its missing parents too). Without it, a
    missing one is a `NotFoundError`. `UsageError` for URLs of kinds that are not supported,
    `StorageError` where the path is no directory or may not be used.
    """
    path = local_path(url_or_path)
    try:
        if create:
            make_folder(path)
        elif not path.exists():
            raise NotFoundError(
                f"there is no repository {printable(str(path))}", "check -path, or take a first backup there"
            )
    except OSError as error:
        raise translated(error, "create", path) from error
    if not path.is_dir():
        raise StorageError(f"{printable(str(path))} is not a directory", "give the path of a directory")
    return LocalStore(path)
