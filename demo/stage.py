"""What the demo's visitor sees: a sentence, the command as it could be typed, and what it really prints."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class CommandFailedError(Exception):
    """A command of the demo ended otherwise than the demo expects."""


class Stage:
    """Runs the commands of one story after the other, each in its own folder and environment, and narrates."""

    def __init__(self) -> None:
        self._folder = Path()
        self._environment: Mapping[str, str] = {}
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._steps = 0

    def enter(self, title: str, folder: Path, environment: Mapping[str, str]) -> None:
        """A new story begins: its commands run in that folder, with these variables."""
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._print(f"\n{self._in('1;35', f'━━ {title} ━━')}")

    def step(self, title: str) -> None:
        """A new step begins."""
        self._steps += 1
        self._print(f"\n{self._in('1;34', f'{self._steps}. {title}')}")

    def say(self, text: str) -> None:
        """One paragraph of explanation, or one fact."""
        self._print(f"   {text}")

    def good(self, text: str) -> None:
        """Something that was checked and is right."""
        self._print(f"   {self._in('32', '✔ ' + text)}")

    def bad(self, text: str) -> None:
        """Something that was checked and is wrong."""
        self._print(f"   {self._in('1;31', '✘ ' + text)}")

    def run(self, why: str, command: str, *, expect: int = 0) -> None:
        """Say why, show the command, run it in bash. `CommandFailedError` unless it exits with `expect`."""
        self._print(f"\n   {self._in('2', why)}")
        self._print(f"{self._in('1;36', '$')} {self._in('1', command)}")
        done = subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-c", command], cwd=self._folder, env=self._environment
        )
        if done.returncode != expect:
            raise CommandFailedError(
                f"it exited with {done.returncode} where {expect} was expected: {command}"
            )
        if expect != 0:
            self.say(f"(exit code {expect}, as it should be)")

    def capture(self, command: str) -> str:
        """Run something quietly; its output."""
        done = subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-c", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise CommandFailedError(f"it exited with {done.returncode}: {command}\n{done.stderr.strip()}")
        return done.stdout

    def _in(self, style: str, text: str) -> str:
        return f"\033[{style}m{text}\033[0m" if self._colour else text

    def _print(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
