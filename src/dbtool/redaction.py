"""Keeping secrets out of everything that is shown or written: by value, wherever they turn up.

Whoever resolves a secret registers it; whoever passes on text that came from elsewhere (a client
program's stderr, a traceback) sends it through `redact`.
"""

from __future__ import annotations

import threading

_MASK = "***"
_SHORTEST = 3  # replacing every "a" would make a text unreadable, and tell the secret

_secrets: set[str] = set()
_lock = threading.Lock()


def register(secret: str) -> None:
    """From now on `redact` hides this value."""
    if len(secret) >= _SHORTEST:
        with _lock:
            _secrets.add(secret)


def redact(text: str) -> str:
    """The text with every registered secret replaced; longer secrets first."""
    with _lock:
        secrets = sorted(_secrets, key=len, reverse=True)
    for secret in secrets:
        text = text.replace(secret, _MASK)
    return text
