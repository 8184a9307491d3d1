"""Ctrl-C and termination signals: both are raised in the main thread, so that work cleans up.

A statement that runs takes an interrupt as "cancel me"; `is_terminating` tells the console that it
was more than that.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: like Ctrl-C, but it ends the console too."""


_terminating = threading.Event()


def install() -> None:
    """From now on SIGTERM and SIGHUP raise `Terminated`; only the main thread may call this."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):  # Windows has no SIGHUP
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays what it is
            signal.signal(number, _terminate)


def is_terminating() -> bool:
    """Whether a termination signal came."""
    return _terminating.is_set()


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    _terminating.set()
    raise Terminated
