"""Make the pictures of the README anew: a console on a server of the demo's, typed into and photographed.

    .venv/bin/python tools/record.py [postgres|mariadb]

Needs tmux, and `rich` out of the development requirements. Backups go to /srv/backups, which must not be
there yet; it is gone afterwards.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from demo.__main__ import STORIES, prepare  # noqa: E402
from demo.stage import Stage  # noqa: E402

REPOSITORY = Path("/srv/backups")
COLUMNS, LINES = 110, 200
PATIENCE_SECONDS = 60
_RED, _GREEN, _YELLOW = (224, 108, 117), (126, 199, 120), (229, 192, 123)
_BLUE, _MAGENTA, _CYAN = (98, 160, 240), (197, 134, 223), (88, 190, 200)
_DARK, _GREY, _LIGHT, _WHITE = (30, 33, 39), (98, 98, 98), (208, 212, 220), (255, 255, 255)
_COLOURS = [_RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN]
THEME = TerminalTheme(_DARK, _LIGHT, [_DARK, *_COLOURS, _LIGHT], [_GREY, *_COLOURS, _WHITE])
PROMPT = re.compile(r"^\[\w+\]> ?$|\[y/N\] ?$")
# What is typed, and the line behind which the next is typed.
TYPED = {
    "postgres": (
        "full database -path /srv/backups",
        "SQL SELECT status, count(*) FROM sales.orders GROUP BY 1 ORDER BY 2 DESC",
        "SQL UPDATE sales.products SET price = 0",
        "y",
        "SQL SELECT name, price FROM sales.products ORDER BY sku LIMIT 3",
        "restore latest -into shop -tables sales.products -replace",
        "y",
        "SQL SELECT name, price FROM sales.products ORDER BY sku LIMIT 3",
        "verify latest",
        "list",
    ),
    "mariadb": (
        "full database -all -path /srv/backups",
        "SQL SELECT sku, name, price, weight_class FROM products ORDER BY sku LIMIT 2",
        "SQL ALTER TABLE products DROP COLUMN price_with_tax, DROP COLUMN photo",
        "y",
        "SQL DELETE FROM reviews",
        "y",
        "restore latest -into shop -tables products reviews -replace",
        "y",
        "SQL SELECT COUNT(photo), SUM(price_with_tax) FROM products",
        "verify latest",
        "list",
    ),
}
NAMES = {"postgres": "session.svg", "mariadb": "session-mariadb.svg"}


class Terminal:
    """A tmux of its own, with one program in it."""

    def __init__(self, folder: Path, command: str) -> None:
        self._tmux = ("tmux", "-S", str(folder / "tmux"), "-f", "/dev/null")
        self._run("new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), command)

    def _run(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def wait(self) -> None:
        """Until a prompt or a question is the last thing on the screen, and stays."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        seen = 0
        while seen < 4:
            time.sleep(0.25)
            shown = without_bar(self._run("capture-pane", "-p"))
            seen = seen + 1 if PROMPT.search(shown.rpartition("\n")[2]) else 0
            if time.monotonic() > deadline:
                raise SystemExit(f"no prompt came:\n{shown}")

    def type(self, line: str) -> None:
        self._run("send-keys", "-l", line)
        time.sleep(0.5)
        self._run("send-keys", "Enter")
        self.wait()

    def screen(self) -> str:
        """What can be seen, with its colours as escape sequences."""
        return without_bar(self._run("capture-pane", "-p", "-e"))

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)


def without_bar(screen: str) -> str:
    """The screen's text without the bar at its bottom."""
    text = screen.rstrip()
    above, _, last = text.rpartition("\n")
    return above.rstrip() if " │ " in last and " as " in last else text


def picture(text: str) -> str:
    """The screen as an SVG that needs nothing from elsewhere."""
    plain = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    plain = re.sub(r"<!--.*?-->\s*", "", plain).replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas")
    console = Console(width=COLUMNS, record=True, file=tempfile.TemporaryFile("w"), legacy_windows=False)  # noqa: SIM115
    console.print(Text.from_ansi(text), no_wrap=True)
    made = console.export_svg(title="dbtool", theme=THEME, code_format=plain, unique_id="session")
    return "\n".join(line.rstrip() for line in made.splitlines()) + "\n"


def record(name: str) -> None:
    """Play one session, and write its picture."""
    folder = Path(tempfile.mkdtemp())
    REPOSITORY.mkdir(mode=0o700)
    try:
        with STORIES[name](Stage()) as story:
            programs = prepare(folder, story)
            variables = {**story.prepare(folder), "HOME": str(folder), "TZ": "UTC"}
            variables["PATH"] = f"{programs}:{story.programs}:/usr/bin:/bin"
            story.stage.enter(story.title, folder, variables)
            story.load_shop()
            settings = " ".join(f"{key}={shlex.quote(value)}" for key, value in variables.items())
            terminal = Terminal(folder, f"cd {folder} && env {settings} {story.backup_line}")
            try:
                terminal.wait()
                for line in TYPED[name]:
                    terminal.type(line)
                shown = f"$ {story.backup_line}\n{terminal.screen()}"
            finally:
                terminal.close()
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(REPOSITORY)
    (ROOT / "docs" / "images" / NAMES[name]).write_text(picture(shown), encoding="utf-8")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or NAMES:
        record(chosen)
