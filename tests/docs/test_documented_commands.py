"""What README and docs say can be typed, can be typed; where they point, something is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbtool.console import commands, reading
from dbtool.console.grammar import find_command, parse

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
PAGE_NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PROGRAM = re.compile(r"(?:^|(?<=[\s=]))(?:\S*/)?(?:dbtool|python3? -m dbtool|python3? cli/dbtool\.py)(?= )")
PROMPT = re.compile(r"\[\w+\]> (.*)")
# A synopsis says how a command is written; it is not one that can be typed.
SYNOPSIS = re.compile(r"…|ID\||\[(?:-|ACTION|options|connection|the )|file\|manual| \| |COMMAND|: ")
SHELL_ENDS = ("|", ">", ">>", "2>", "2>>", "&&", ";")
PICTURES = sorted((ROOT / "docs" / "images").glob("*.svg"))


def code_lines(page: Path) -> Iterator[str]:
    """The lines of all code blocks, fenced or indented."""
    fence = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            fence = "" if fence else "```"
        elif fence or line.startswith("    "):
            yield line.strip()


def arguments_of(line: str) -> list[str] | None:
    """What a shell would hand to dbtool; None if the line does not call it."""
    line = line.removeprefix("$ ")
    found = PROGRAM.search(line)
    if found is None or line.startswith("#"):
        return None
    words = shlex.split(line[found.end() :], comments=True)
    ends = [words.index(end) for end in SHELL_ENDS if end in words]
    return words[: min(ends)] if ends else words


def typed(page: Path) -> list[str]:
    """Lines that a reader may copy."""
    return [line for line in code_lines(page) if not SYNOPSIS.search(line)]


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_commands_are_what_the_command_line_takes(name: str) -> None:
    for line in typed(ROOT / name):
        words = arguments_of(line)
        if not words or words[0] in ("--help", "--version"):
            continue
        command, taken = find_command(commands.SCRIPT, words)
        call = parse(command, words[taken:])
        if command is commands.BACKUP and call.rest:
            reading.read_arguments(call.rest)


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_what_follows_the_prompt_is_what_the_console_takes(name: str) -> None:
    for line in typed(ROOT / name):
        if found := PROMPT.fullmatch(line):
            reading.read_line(found[1])


def test_enough_was_looked_at() -> None:
    """The tests above would pass if they found nothing."""
    lines = [line for page in PAGES for line in typed(page)]
    assert sum(arguments_of(line) is not None for line in lines) > 25
    assert sum(PROMPT.fullmatch(line) is not None for line in lines) > 10


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_targets_of_make_are_there(name: str) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(r"`make ([a-z-]+)", text) + re.findall(r"(?m)^(?:    |\$ )?make ([a-z-]+)", text)
    assert set(named) <= targets


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_picture_stands_alone_and_names_no_place_of_the_machine_it_was_made_on(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"(?<![\w.<:/])/[\w./-]+", text)) <= {"/srv/backups", "/srv/backups.", "/dev/null"}
