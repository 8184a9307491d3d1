"""How progress is shown to a person: one line that is redrawn on a terminal, plain lines in a log.

Everything goes to stderr. Thread-safe: workers report from their own threads.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from types import TracebackType
from typing import TextIO

from dbtool.console.units import bytes_text, duration_text

_REDRAW_SECONDS = 0.1
_LOG_SECONDS = 10.0
_RATE_WINDOW_SECONDS = 5.0


class ProgressView:
    """A `Progress` on a stream; use it as a context manager, so that the line is wiped at the end."""

    def __init__(self, stream: TextIO | None = None, is_terminal: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty() if is_terminal is None else is_terminal
        self._lock = threading.Lock()
        self._phase = ""
        self._total_bytes: int | None = None
        self._done_bytes = 0
        self._began = self._last_shown = time.monotonic()
        self._samples: list[tuple[float, int]] = []
        self._drawn = False

    def __enter__(self) -> ProgressView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._wipe()

    def phase(self, name: str, total_bytes: int | None = None) -> None:
        """Begin a phase; on a terminal its line appears at once, in a log it is a line of its own."""
        with self._lock:
            self._phase, self._total_bytes, self._done_bytes = name, total_bytes, 0
            self._began = self._last_shown = time.monotonic()
            self._samples = [(self._began, 0)]
            if self._is_terminal:
                self._draw()
            else:
                self._write(f"{name}\n")

    def advance(self, done_bytes: int) -> None:
        """Count bytes; redraws at most ten times a second, logs at most every ten seconds."""
        with self._lock:
            self._done_bytes += done_bytes
            now = time.monotonic()
            if now - self._last_shown < (_REDRAW_SECONDS if self._is_terminal else _LOG_SECONDS):
                return
            self._last_shown = now
            self._samples.append((now, self._done_bytes))
            while len(self._samples) > 2 and now - self._samples[0][0] > max(
                _RATE_WINDOW_SECONDS, _LOG_SECONDS
            ):
                self._samples.pop(0)
            if self._is_terminal:
                self._draw()
            else:
                self._write(f"{self._line(bar_width=0)}\n")

    def note(self, message: str) -> None:
        """One line that stays."""
        with self._lock:
            self._wipe()
            self._write(f"{message}\n")
            if self._phase and self._is_terminal:
                self._draw()

    def _line(self, bar_width: int) -> str:
        parts = [self._phase]
        rate = self._rate_bytes_per_second()
        if self._total_bytes:
            share = min(1.0, self._done_bytes / self._total_bytes)
            if bar_width:
                filled = round(share * bar_width)
                parts.append("━" * filled + "╌" * (bar_width - filled))
            parts.append(f"{share:4.0%}")
        if self._done_bytes:
            parts += [bytes_text(self._done_bytes), f"{bytes_text(int(rate))}/s"]
            left = (self._total_bytes or 0) - self._done_bytes
            if left > 0 and rate > 0:
                parts.append(f"{duration_text(left / rate)} left")
        else:
            elapsed = time.monotonic() - self._began
            if elapsed >= 1:
                parts.append(duration_text(elapsed))
        return "  ".join(parts)

    def _rate_bytes_per_second(self) -> float:
        if not self._samples:
            return 0.0
        began, before = self._samples[0]
        return (self._done_bytes - before) / max(0.001, time.monotonic() - began)

    def _draw(self) -> None:
        columns = shutil.get_terminal_size().columns
        line = self._line(bar_width=24 if columns >= 80 else 0)
        self._write(f"\r\x1b[2K{line[: columns - 1]}")
        self._drawn = True

    def _wipe(self) -> None:
        if self._drawn:
            self._write("\r\x1b[2K")
            self._drawn = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody can read the narration any more; the work goes on
