"""Backups as a person reads them: the table of `list`, the page of `show`, what `verify` found.

Everything that comes from a repository is shown with control characters neutralised.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dbtool.catalog.index import BackupSummary
from dbtool.catalog.names import full_of
from dbtool.console.units import bytes_text, duration_text
from dbtool.text import counted, plural, printable

if TYPE_CHECKING:  # needed for no more than its type, and it brings zstd along
    from dbtool.operations.verify import VerificationReport

_LARGEST_TABLES = 20
_RIGHT_ALIGNED = {"took", "size", "ratio", "of full"}
_COLOURS = {"completed": "32", "verified": "32", "running": "36", "failed": "31", "damaged": "31"}
_OTHER_COLOUR = "33"
_REMOVED = "removed key"


def local_time(timestamp: str) -> str:
    """An ISO 8601 time in this machine's zone, the zone printed; as it is if it is none."""
    try:
        moment = datetime.fromisoformat(timestamp.replace("Z", "+00:00")).astimezone()
    except ValueError:
        return printable(timestamp) or "-"
    return moment.strftime("%Y-%m-%d %H:%M:%S %Z")


def state_of(summary: BackupSummary) -> str:
    """One word, or two: `completed`, `verified`, `damaged`, `running`, `failed`, `interrupted`."""
    if summary.status == "completed" and summary.verified is not None:
        return "verified" if summary.verified == "passed" else "damaged"
    if summary.status == "failed" and summary.metadata_sha256 is not None:
        return "damaged"
    return summary.status


def render_list(summaries: Sequence[BackupSummary], width: int, color: bool) -> str:
    """The table of `list`, without a final newline. Where `width` is too small, names are cut in the
    database's column only: an id is there to be copied."""
    if not summaries:
        return "There are no backups here."
    heads = ["id", "type", "database", "when", "took", "size", "ratio", "state"]
    chained = _in_chains(summaries)
    rows = [_cells(summary, mark) for summary, mark, _ in chained]
    if any(mark for _, mark, _ in chained):
        heads.insert(-1, "of full")
        for row, (summary, _, full) in zip(rows, chained, strict=True):
            row.insert(-1, _share(summary, full))
    widths = [max(map(_width, column)) for column in zip(heads, *rows, strict=True)]
    surplus = sum(widths) + 2 * (len(widths) - 1) - width
    if surplus > 0:
        widths[2] = max(widths[2] - surplus, 8)
    lines = [_line(heads, heads, widths)]
    lines.append("  ".join("-" * size for size in widths))
    for row in rows:
        line = _line(heads, row, widths)
        lines.append(_coloured(line, row[-1]) if color else line)
    return "\n".join(lines)


def _in_chains(
    summaries: Sequence[BackupSummary],
) -> list[tuple[BackupSummary, str, BackupSummary | None]]:
    """Each backup with the sign before its id and its full: differentials behind their full, else in order."""
    below: dict[str, list[BackupSummary]] = {}
    tops = {summary.folder for summary in summaries}
    for summary in summaries:
        if (full := full_of(summary.folder)) in tops:
            below.setdefault(str(full), []).append(summary)
    found: list[tuple[BackupSummary, str, BackupSummary | None]] = []
    for summary in summaries:
        if full_of(summary.folder) in tops:
            continue
        found.append((summary, "", None))
        links = below.get(summary.folder, ())
        for number, link in enumerate(links, 1):
            found.append((link, "└─ " if number == len(links) else "├─ ", summary))
    return found


def _share(summary: BackupSummary, full: BackupSummary | None) -> str:
    """A differential's size as a part of its full's."""
    if full is None or not full.stored_bytes or not summary.stored_bytes:
        return ""
    return f"{100 * summary.stored_bytes / full.stored_bytes:.1f} %"


def _cells(summary: BackupSummary, mark: str = "") -> list[str]:
    ratio = f"{summary.text_bytes / summary.stored_bytes:.1f}x" if summary.stored_bytes else "-"
    return [
        mark + printable(summary.id),
        printable(summary.type),
        printable(summary.database),
        local_time(summary.timestamp_start),
        "-" if summary.duration_seconds is None else duration_text(summary.duration_seconds),
        bytes_text(summary.stored_bytes) if summary.stored_bytes else "-",
        ratio,
        state_of(summary),
    ]


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def _fitted(text: str, size: int) -> str:
    if _width(text) <= size:
        return text
    while text and _width(text) > size - 1:
        text = text[:-1]
    return text + "…"


def _line(heads: Sequence[str], cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for head, cell, size in zip(heads, cells, widths, strict=True):
        shown = _fitted(cell, size)
        space = " " * (size - _width(shown))
        padded.append(space + shown if head in _RIGHT_ALIGNED else shown + space)
    return "  ".join(padded).rstrip()


def _coloured(line: str, state: str) -> str:
    start = line[: len(line) - len(state)]
    return f"{start}\x1b[{_COLOURS.get(state, _OTHER_COLOUR)}m{state}\x1b[0m"


def render_show(document: dict[str, Any], color: bool) -> str:
    """The page of `show`, from the document of `operations.listing.show`."""
    lines = [_bold(_text(document.get("id")), color)]
    lines += [f"  {name:<12}{value}" for name, value in _facts(document) if value]
    lines += _artefacts(document.get("artefacts") or (), color)
    if isinstance(document.get("differential"), dict):
        lines += _changed_tables(document.get("tables") or (), color)
    else:
        lines += _tables(document.get("tables") or (), color)
    lines += _differentials(document, color)
    warnings = document.get("warnings")  # of an incomplete backup only their number is known
    told = {
        "warnings": [_text(warning) for warning in warnings] if isinstance(warnings, list) else [],
        "records": [_record(record) for record in document.get("records") or ()],
    }
    for title, items in told.items():
        if items:
            lines += ["", _bold(title, color), *(f"  {item}" for item in items)]
    return "\n".join(lines)


def _facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    database, server = document.get("database"), document.get("server") or {}
    name = database.get("name") if isinstance(database, dict) else database
    duration = document.get("duration_seconds")
    parent = document.get("parent")
    snapshot = document.get("snapshot") or {}
    return [
        ("status", _text(document.get("status"))),
        ("problem", _text(document.get("problem"))),
        ("verified", _verified(document)),
        ("type", " ".join(filter(None, (_text(document.get("method")), _text(document.get("type")))))),
        ("label", _text(document.get("label"))),
        ("database", _text(name)),
        ("server", " ".join(filter(None, (_text(document.get("flavour")), _text(server.get("version")))))),
        ("started", local_time(str(document.get("timestamp_start") or ""))),
        ("took", duration_text(duration) if isinstance(duration, (int, float)) else ""),
        ("shows", local_time(str(snapshot["time"])) if snapshot.get("time") else ""),
        ("rows", _rows(document.get("statistics") or {})),
        ("parent", _text(parent.get("id") if isinstance(parent, dict) else parent)),
        *_differential_facts(document.get("differential")),
        ("location", _text(document.get("backup_location"))),
    ]


def _rows(statistics: dict[str, Any]) -> str:
    tables, rows = statistics.get("total_tables", 0), statistics.get("total_rows_processed", 0)
    return f"{rows:,} in {counted(tables, 'table')}" if tables else ""


def _verified(document: dict[str, Any]) -> str:
    outcome = document.get("verified")
    return f"{_text(outcome)}, {local_time(str(document.get('verified_at') or ''))}" if outcome else ""


def _artefacts(artefacts: Sequence[dict[str, Any]], color: bool) -> list[str]:
    if not artefacts:
        return []
    lines = ["", _bold("files", color)]
    for artefact in artefacts:
        lines.append(f"  {bytes_text(artefact['stored_bytes']):>8}  {_text(artefact['name'])}")
    return lines


def _tables(tables: Sequence[dict[str, Any]], color: bool) -> list[str]:
    if not tables:
        return []
    largest = sorted(tables, key=lambda table: (-int(table["bytes"]), table["schema"], table["name"]))
    lines = ["", _bold("tables, by size of their text", color)]
    for table in largest[:_LARGEST_TABLES]:
        name = _text(f"{table['schema']}.{table['name']}")
        lines.append(
            f"  {bytes_text(table['bytes']):>8}  {table['rows']:>13,} {plural(table['rows'], 'row'):<4}  {name}"
        )
    if len(largest) > _LARGEST_TABLES:
        lines.append(f"  and {len(largest) - _LARGEST_TABLES:,} smaller ones")
    return lines


def _differential_facts(found: Any) -> list[tuple[str, str]]:
    if not isinstance(found, dict):
        return []
    tables = (
        f"{found['unchanged']:,} unchanged, {found['rows']:,} with changed rows, {found['whole']:,} whole"
        f"{f', {left_out:,} left out' if (left_out := found['left_out']) else ''}"
    )
    deletes = "covered" if found["deletes_covered"] else "not covered: rows deleted since the full come back"
    return [
        ("changes by", _text(found["method"])),
        ("tables", tables),
        ("removed", f"{found['removed']:,} keys" if found["removed"] else ""),
        ("deletes", deletes),
    ]


def _changed_tables(tables: Sequence[dict[str, Any]], color: bool) -> list[str]:
    changed = [
        (table, taken)
        for table in tables
        if (taken := (table.get("details") or {}).get("differential") or {}).get("taken")
        not in ("unchanged", "left out")
    ]
    if not changed:
        return []
    changed.sort(key=lambda pair: (-int(pair[0]["bytes"]), pair[0]["schema"], pair[0]["name"]))
    lines = ["", _bold("tables that changed, by size of their text", color)]
    for table, taken in changed[:_LARGEST_TABLES]:
        name = _text(f"{table['schema']}.{table['name']}")
        removed = int(taken.get("removed") or 0)
        lines.append(
            f"  {bytes_text(table['bytes']):>8}  {table['rows']:>13,} rows  {removed:>11,} removed"
            f"  {_text(taken.get('taken')):<5}  {name}"
        )
    if len(changed) > _LARGEST_TABLES:
        lines.append(f"  and {len(changed) - _LARGEST_TABLES:,} smaller ones")
    return lines


def _differentials(document: dict[str, Any], color: bool) -> list[str]:
    """What builds on a full, a line each."""
    found = document.get("differentials") or ()
    if not found:
        return []
    size = sum(artefact["stored_bytes"] for artefact in document.get("artefacts") or ())
    lines = ["", _bold("differentials", color)]
    for link in found:
        share = f"{100 * link['stored_bytes'] / size:.1f} %" if size and link["stored_bytes"] else "-"
        stored = bytes_text(link["stored_bytes"]) if link["stored_bytes"] else "-"
        when = local_time(str(link["timestamp_start"]))
        lines.append(f"  {stored:>8}  {share:>7}  {when}  {_text(link['id'])}  {_text(link['status'])}")
    return lines


def _record(record: dict[str, Any]) -> str:
    data = record.get("data") or {}
    told = data.get("outcome") or data.get("error") or data.get("reason") or ""
    return f"{local_time(str(record.get('time') or ''))}  {_text(record.get('kind'))} {_text(told)}".rstrip()


def render_verification(report: VerificationReport, color: bool) -> str:
    """What `verify` found, a line each, the outcome last; before it, the same of what it builds upon."""
    lines = [render_verification(report.base, color)] if report.base else []
    lines += [f"finding: {printable(finding.message)}" for finding in report.findings]
    lines += [f"note: {printable(note)}" for note in report.notes]
    counts = (
        f"{counted(report.artefacts, 'file')}, {counted(report.frames, 'frame')}, {counted(report.tables, 'table')},"
        f" {counted(report.rows, 'row')}"
        f"{f', {counted(report.removed, _REMOVED)}' if report.removed else ''}"
        f" in {duration_text(report.duration_seconds)}"
    )
    state = "failed" if report.findings else "verified"
    outcome = f"\x1b[{_COLOURS[state]}m{report.outcome}\x1b[0m" if color else report.outcome
    lines.append(f"{printable(report.backup)}: {outcome} ({counts})")
    return "\n".join(lines)


def _text(value: Any) -> str:
    return "" if value is None else printable(str(value))


def _bold(text: str, color: bool) -> str:
    return f"\x1b[1m{text}\x1b[0m" if color else text
