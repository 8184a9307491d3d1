"""The results as a table for the terminal, as Markdown, as JSON and as a chart (SVG, written by hand)."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from pathlib import Path

from benchmarks.results import MEGABYTE, Line, Results, Verdict

_BAR_HEIGHT, _GAP, _LEFT, _WIDTH = 18, 6, 260, 900
_OURS, _THEIRS, _FLOOR = "#2b6cb0", "#a0aec0", "#e2e8f0"


def machine() -> str:
    """What was measured on, without its name."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} processors ({cpu}), {memory:.0f} GiB of memory, "
        f"{platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}; server, clients and repository on the same machine and disk"
    )


def _verdict_row(verdict: Verdict) -> list[str]:
    digits = 0 if verdict.unit == "MB" else 2
    unit = f" {verdict.unit}" if verdict.unit else ""
    goal = "" if verdict.goal is None else f"≤ {verdict.goal:.{digits}f}{unit}"
    if verdict.reached is None:
        return [verdict.section, verdict.what, goal, "–", "–", "NOT MEASURED"]
    return [
        verdict.section,
        verdict.what,
        goal,
        f"{verdict.reached:.{digits}f}{unit}",
        "" if verdict.by_cpu is None else f"{verdict.by_cpu:.2f}",
        "" if verdict.goal is None else "reached" if verdict.is_kept else "MISSED",
    ]


def _line_row(line: Line) -> list[str]:
    return [
        line.section,
        line.name,
        f"{line.wall_seconds:.2f}",
        f"{line.client_cpu_seconds:.2f}",
        f"{line.server_cpu_seconds:.2f}",
        f"{line.other_cpu_seconds:.2f}",
        f"{line.size_bytes / MEGABYTE:.1f}" if line.size_bytes else "",
    ]


_VERDICT_HEAD = ["section", "promise", "goal", "measured", "in CPU seconds", ""]
_LINE_HEAD = ["section", "program", "seconds", "CPU client", "CPU server", "CPU others", "MB"]


def text(results: Results) -> str:
    """For the terminal."""
    parts = [_aligned(_LINE_HEAD, [_line_row(line) for line in results.lines])]
    parts.append(_aligned(_VERDICT_HEAD, [_verdict_row(verdict) for verdict in results.verdicts]))
    return "\n\n".join([*parts, *results.notes])


def markdown(results: Results) -> str:
    """For docs/performance.md."""
    tables = [
        _markdown_table(_VERDICT_HEAD, [_verdict_row(verdict) for verdict in results.verdicts]),
        _markdown_table(_LINE_HEAD, [_line_row(line) for line in results.lines]),
    ]
    return "\n\n".join([f"Machine: {machine()}.", *tables, *results.notes]) + "\n"


def _aligned(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    numeric = {column for column in range(2, len(head)) if head[column]}

    def shown(row: list[str]) -> str:
        cells = [
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([shown(head), "  ".join("-" * width for width in widths), *map(shown, rows)])


def _markdown_table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(
        "| " + " | ".join(row).replace("|  |", "| |") + " |"
        for row in [head, ["---"] * len(head), *[[cell.replace("|", "\\|") for cell in row] for row in rows]]
    )


def chart(results: Results) -> str:
    """Bars of seconds, a group for each section that compares programs; lower is better."""
    compared = [line for line in results.lines if line.is_drawn]
    parts: list[str] = []
    top = 30.0
    for section in dict.fromkeys(line.section for line in compared):
        group = [line for line in compared if line.section == section]
        parts += _group(section, group, top)
        top += 34 + len(group) * (_BAR_HEIGHT + _GAP)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top:.0f}" '
        'font-family="sans-serif" font-size="13">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        '<text x="10" y="20" font-size="15" font-weight="bold">Seconds (median); shorter is better</text>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def _group(section: str, lines: list[Line], top: float) -> Iterator[str]:
    longest = max(line.wall_seconds for line in lines)
    yield f'<text x="10" y="{top + 20:.0f}" font-weight="bold">{escape(section)}</text>'
    y = top + 28
    for line in lines:
        colour = _OURS if line.is_ours else _FLOOR if line.name.startswith("floor") else _THEIRS
        width = (_WIDTH - _LEFT - 70) * line.wall_seconds / longest
        baseline = y + _BAR_HEIGHT - 4
        yield f'<text x="{_LEFT - 8}" y="{baseline:.0f}" text-anchor="end">{escape(line.name)}</text>'
        yield f'<rect x="{_LEFT}" y="{y:.0f}" width="{width:.1f}" height="{_BAR_HEIGHT}" fill="{colour}"/>'
        yield f'<text x="{_LEFT + width + 6:.1f}" y="{baseline:.0f}">{line.wall_seconds:.1f} s</text>'
        y += _BAR_HEIGHT + _GAP


def write(results: Results, folder: Path) -> None:
    """All forms, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chart.svg").write_text(chart(results), encoding="utf-8")
    (folder / "report.md").write_text(markdown(results), encoding="utf-8")
    document = {"machine": machine(), **asdict(results)}
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
