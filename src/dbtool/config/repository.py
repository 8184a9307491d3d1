"""Which repository a command means: the one named, the one configured, or the one last used.

What was last used for a database is remembered per user, in `~/.local/state/dbtool`. It is a
convenience: whatever is wrong with that file, it is as if there were none.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

from dbtool import platforms
from dbtool.config.settings import Settings
from dbtool.config.sources import expanded, home_folder
from dbtool.errors import UsageError

_FILE_NAME = "repositories.json"


def choose(path_option: str | None, settings: Settings, engine: str, database: str, server: str) -> str:
    """The repository's absolute path or URL. `server` is the server as a person names it, such as
    "localhost:5432". Raises UsageError if nothing says which."""
    chosen = path_option or settings.path or _recall().get(_key(engine, database, server))
    if not chosen:
        raise UsageError(
            "no repository is named",
            "Say where backups go: -path FOLDER, or BACKUP_PATH in .env or dbtool.toml.",
        )
    return absolute(chosen)


def remember(path: str, engine: str, database: str, server: str) -> None:
    """From now on this repository is the one last used for that database."""
    known = _recall()
    known[_key(engine, database, server)] = absolute(path)
    with contextlib.suppress(OSError):
        _write(_state_file(), json.dumps(known, indent=1, ensure_ascii=False))


def absolute(path: str) -> str:
    """A path that stays right in another folder; a URL as it is."""
    if "://" in path:
        return path
    return os.path.abspath(expanded(path))  # noqa: PTH100 - a symbolic link's own name is what a person knows


def _key(engine: str, database: str, server: str) -> str:
    return f"{engine} {server} {database}"


def _state_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or home_folder() / ".local" / "state"
    return Path(state) / "dbtool" / _FILE_NAME


def _recall() -> dict[str, str]:
    try:
        found = json.loads(_state_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: path for key, path in found.items() if isinstance(path, str)}


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent)  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            platforms.make_private(descriptor)
            stream.write(text)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
