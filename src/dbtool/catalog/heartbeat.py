"""`running.json`: tells a backup that runs from one whose process died.

The process refreshes it every 10 seconds. On the machine that runs the backup, the process itself
is looked at; from elsewhere, a heartbeat older than 60 seconds by the store's clock means death.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dbtool.catalog import names
from dbtool.errors import DbtoolError, NotFoundError
from dbtool.storage.base import Store

INTERVAL_SECONDS = 10.0
STALE_SECONDS = 60.0


class Heartbeat:
    """Keeps a folder's `running.json` fresh from a thread of its own, until `stop`."""

    def __init__(self, store: Store, folder: str, facts: dict[str, Any]) -> None:
        self._store = store
        self._name = f"{folder}/{names.RUNNING}"
        self._facts = {
            **facts,
            "host": socket.gethostname(),
            "host_identity": host_identity(),
            "pid": os.getpid(),
            "process_start_time": process_start_time(os.getpid()),
        }
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> bool:
        """Write the first one and start the thread; False if the folder is already somebody's."""
        if not self._store.put_if_absent(self._name, self._document()):
            return False
        self._thread.start()
        return True

    def stop(self) -> None:
        """End the thread; `running.json` stays. Safe to call twice."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _document(self) -> bytes:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return json.dumps({**self._facts, "heartbeat": now}, indent=2).encode() + b"\n"

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            # A full disk stops the backup itself soon enough; that is where it is reported.
            with contextlib.suppress(DbtoolError), self._store.put(self._name) as upload:
                upload.write(self._document())
                upload.commit()


def read_running(store: Store, folder: str) -> dict[str, Any] | None:
    """What `running.json` says; None if there is none, `{}` if it cannot be read."""
    try:
        document = json.loads(b"".join(store.get(f"{folder}/{names.RUNNING}")))
    except NotFoundError:
        return None
    except (ValueError, DbtoolError):
        return {}
    return document if isinstance(document, dict) else {}


def is_alive(store: Store, folder: str, running: dict[str, Any]) -> bool:
    """Whether the process that wrote `running` still works on the backup in `folder`."""
    identity = host_identity()
    if identity and running.get("host_identity") == identity:
        alive = _process_is_alive(running.get("pid"), running.get("process_start_time"))
        if alive is not None:
            return alive
    prefix = f"{folder}/{names.RUNNING}"
    modified = max(
        (entry.modified for entry in store.list(f"{folder}/") if entry.name == prefix), default=0.0
    )
    return store.now() - modified <= STALE_SECONDS


def host_identity() -> str:
    """Tells this boot of this machine (and this container's process numbers) from any other; may be empty."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    except OSError:
        return ""


def process_start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None if it is gone, a zombie, or cannot be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _process_is_alive(pid: Any, start_time: Any) -> bool | None:
    """None where the system does not tell."""
    if not isinstance(pid, int) or pid <= 0:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another account's process: it is there
    if not Path("/proc/self/stat").exists() or start_time is None:
        return None
    now = process_start_time(pid)
    if now is None and not Path(f"/proc/{pid}").exists():
        return None  # hidden from other accounts
    return bool(now == start_time)
