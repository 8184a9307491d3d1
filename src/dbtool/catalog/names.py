"""Names of backups and of their files. Pure functions; the rules stand in `docs/format.md`."""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from datetime import datetime, timezone

from dbtool.model.backup import BackupType

METADATA = "metadata.json"
RUNNING = "running.json"
RESTORE = "RESTORE.md"
SCHEMA = "schema.sql"
GLOBALS = "globals.sql"
RECORDS = "records"
DIFFERENTIALS = ".backup_diff"
MANIFEST = f"{DIFFERENTIALS}/manifest.json"
CATALOGUE = "backup_catalog.json"

_LONGEST_DATABASE_BYTES = 150  # leaves room for type, stamp and suffix within the 255 of file systems
_FORBIDDEN = frozenset('/\\%:*?"<>|')
_TYPE_WORDS = {
    BackupType.FULL: "full",
    BackupType.PARTIAL: "partial",
    BackupType.DIFFERENTIAL: "diff",
    BackupType.INCREMENTAL: "incr",
}
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)", re.ASCII)
_ID = re.compile(r"(full|partial|diff|incr)_(.+)_([0-9]{8}_[0-9]{6})_[0-9a-f]{4}", re.DOTALL)


def file_safe_name(database: str) -> str:
    """A database's name as a part of file names: at most 150 bytes of UTF-8.

    `/ \\ % : * ? " < > |`, control characters and a leading `.` or `-` become `%XX` for each of
    their UTF-8 bytes. A name too long is cut and ends in `~` and 8 hex digits of its SHA-256.
    """
    safe = "".join(_encoded(character, first=index == 0) for index, character in enumerate(database))
    if len(safe.encode()) <= _LONGEST_DATABASE_BYTES:
        return safe
    digest = hashlib.sha256(database.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    cut = safe.encode()[: _LONGEST_DATABASE_BYTES - 9].decode("utf-8", "ignore")
    return f"{re.sub('%[0-9A-F]?$', '', cut)}~{digest}"


def _encoded(character: str, first: bool) -> str:
    unsafe = character in _FORBIDDEN or unicodedata.category(character) in ("Cc", "Cs")
    if not unsafe and not (first and character in ".-"):
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


def utc_stamp(moment: datetime) -> str:
    """`20251101_120000`, in UTC. `moment` is timezone-aware."""
    return moment.astimezone(timezone.utc).strftime("%Y%m%d_%H%M%S")


def new_backup_id(type: BackupType, database: str, moment: datetime) -> str:  # noqa: A002
    """`full_mydb_20251101_120000_a1b2`; the last four digits are random."""
    return f"{_TYPE_WORDS[type]}_{file_safe_name(database)}_{utc_stamp(moment)}_{secrets.token_hex(2)}"


def is_backup_id(name: str) -> bool:
    """Whether a folder of this name was made for a backup."""
    return _ID.fullmatch(name) is not None


def id_parts(name: str) -> tuple[BackupType, str, str] | None:
    """Type, file-safe database name and ISO 8601 start time in UTC, as far as an id tells them."""
    match = _ID.fullmatch(name)
    if match is None:
        return None
    word, database, stamp = match.groups()
    by_word = {word: kind for kind, word in _TYPE_WORDS.items()}
    try:
        moment = _moment_of(stamp)
    except ValueError:
        return None
    return by_word[word], database, moment.isoformat()


def differential_folder(full_folder: str, moment: datetime) -> str:
    """Where a differential that begins at `moment` lies: below the folder of its full."""
    return f"{full_folder}/{DIFFERENTIALS}/{utc_stamp(moment)}"


def is_stamp(name: str) -> bool:
    """Whether it is written like `20251101_120000`."""
    return _STAMP.fullmatch(name) is not None


def full_of(folder: str) -> str | None:
    """The folder of the full below which a differential's folder lies; None if it is no such folder."""
    full, _, stamp = folder.rpartition(f"/{DIFFERENTIALS}/")
    return full if full and stamp and "/" not in stamp else None


def folder_moment(folder: str) -> str:
    """The start that a backup's folder tells, ISO 8601 in UTC; empty if it tells none."""
    parts = id_parts(folder)
    if parts is not None:
        return parts[2]
    stamp = folder.rpartition("/")[2]
    try:
        return _moment_of(stamp).isoformat() if is_stamp(stamp) else ""
    except ValueError:
        return ""


def _moment_of(stamp: str) -> datetime:
    return datetime.fromisoformat(_STAMP.sub(r"\1-\2-\3T\4:\5:\6+00:00", stamp))


def is_full(id: str) -> bool:  # noqa: A002
    """Whether an id is that of a full."""
    parts = id_parts(id)
    return parts is not None and parts[0] is BackupType.FULL


def main_file_name(type: BackupType, database: str, moment: datetime) -> str:  # noqa: A002
    """The main artefact of a logical backup, such as `mydb_partial_20251101_120000.sql.zst`."""
    infix = {BackupType.FULL: "_"}.get(type, f"_{_TYPE_WORDS[type]}_")
    return f"{file_safe_name(database)}{infix}{utc_stamp(moment)}.sql.zst"
