"""Progress as a person sees it: one line on a terminal, plain lines in a log."""

from __future__ import annotations

import io

import pytest

from dbtool.console import progress_view
from dbtool.console.progress_view import ProgressView
from dbtool.console.units import bytes_text, duration_text


def test_a_log_gets_plain_lines() -> None:
    stream = io.StringIO()
    with ProgressView(stream, is_terminal=False) as view:
        view.phase("schema")
        view.phase("rows", 1000)
        view.advance(500)
        view.note("table x was left out")
    assert stream.getvalue() == "schema\nrows\ntable x was left out\n"


def test_a_log_hears_of_long_work_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_view, "_LOG_SECONDS", 0.0)
    stream = io.StringIO()
    with ProgressView(stream, is_terminal=False) as view:
        view.phase("rows", 10_000_000)
        view.advance(2_500_000)
    assert " 25%  2.5 MB" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_one_line_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_view, "_REDRAW_SECONDS", 0.0)
    stream = io.StringIO()
    with ProgressView(stream, is_terminal=True) as view:
        view.phase("rows", 10_000_000)
        view.advance(5_000_000)
        view.note("a note")
    text = stream.getvalue()
    assert "50%" in text
    assert "left" in text
    assert "\ra note" not in text
    assert "\x1b[2Ka note\n" in text
    assert text.endswith("\r\x1b[2K")
    assert text.count("\n") == 1


def test_a_broken_stderr_does_not_stop_the_work() -> None:
    stream = io.StringIO()
    with ProgressView(stream, is_terminal=False) as view:
        stream.close()
        view.phase("rows")
        view.advance(5)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1234, "1.2 kB"),
        (99_949, "100 kB"),
        (2_097_152, "2.1 MB"),
        (5e15, "5000 TB"),
    ],
)
def test_sizes(size: float, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12 ms"), (3.44, "3.4 s"), (59.97, "1 min 00 s"), (125, "2 min 05 s"), (3725, "1 h 02 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
