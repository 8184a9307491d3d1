"""`.backup_diff/manifest.json`: an index of the differentials that lie below a full.

Only an index, as the catalogue is: it may be missing, stale or damaged, and nothing rests on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dbtool.catalog import names
from dbtool.catalog.stored import StoredBackup, differential_folders, read_folder
from dbtool.errors import DbtoolError
from dbtool.model.backup import Metadata
from dbtool.storage.base import Store

METHOD = "method"  # an option of a differential's metadata: "rows" or "timestamp"


def method_of(metadata: Metadata) -> str:
    """How a differential found what changed."""
    return str(metadata.options.get(METHOD) or "rows")


def covers_deletes(metadata: Metadata) -> bool:
    """Whether rows that are gone since the base are gone after a restore: a column of times cannot tell."""
    return method_of(metadata) != "timestamp"


def entry_of(backup: StoredBackup) -> dict[str, Any] | None:
    """What the manifest says of a differential; None unless it is complete and undamaged."""
    known = backup.metadata
    if known is None or known.parent is None:
        return None
    return {
        "id": backup.id,
        "timestamp_start": known.timestamp_start,
        "folder": backup.folder.rpartition("/")[2],
        "main_file": next((one.name for one in known.artefacts if one.name.endswith(".sql.zst")), None),
        "metadata_sha256": backup.file_sha256,
        "parent_sha256": known.parent.metadata_sha256,
        "deletes_covered": covers_deletes(known),
        "method": method_of(known),
    }


def write(store: Store, full_folder: str, base: str, known: StoredBackup | None = None) -> None:
    """Write the manifest of the full `base`, with the differential `known` in it, which need not be read.

    What it said of the others is kept while their folders are there; without `known`, or where it
    cannot be read, all are read again. To be called under the catalogue's lock. `StorageError`.
    """
    name = f"{full_folder}/{names.MANIFEST}"
    before = _read(store, name)
    folders = differential_folders(store, full_folder)
    added = entry_of(known) if known is not None else None
    if before is None or added is None:
        found = (entry_of(read_folder(store, folder)) for folder in folders)
        entries = [entry for entry in found if entry is not None]
    else:
        present = {folder.rpartition("/")[2] for folder in folders} - {added["folder"]}
        entries = [entry for entry in before if entry.get("folder") in present] + [added]
    data = _encoded(base, entries)
    if before is None or data != _encoded(base, before):
        with store.put(name) as upload:
            upload.write(data)
            upload.commit()


def write_first(store: Store, full_folder: str, base: str) -> None:
    """The manifest of a full that nothing builds upon yet."""
    with store.put(f"{full_folder}/{names.MANIFEST}") as upload:
        upload.write(_encoded(base, ()))
        upload.commit()


def _encoded(base: str, entries: Iterable[dict[str, Any]]) -> bytes:
    ordered = sorted(entries, key=lambda entry: str(entry.get("folder")))
    return json.dumps({"base": base, "differentials": ordered}, indent=2).encode() + b"\n"


def _read(store: Store, name: str) -> list[dict[str, Any]] | None:
    """The entries; None if there is no usable manifest."""
    try:
        entries = json.loads(b"".join(store.get(name)))["differentials"]
    except (DbtoolError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    return entries
