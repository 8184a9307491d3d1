"""The interactive console: reads lines with all comfort, runs them, and stays alive.

What a command does is in the command modules; what can be typed is in `commands.py`.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.filters import completion_is_selected
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from dbtool.console import dispatch, interrupts, meta_commands, narration, reading
from dbtool.console.completer import ConsoleCompleter
from dbtool.console.context import Context
from dbtool.console.highlight import STYLE, ConsoleLexer
from dbtool.console.history import PrivateHistory, history_path
from dbtool.console.knowledge import BackgroundKnowledge, Backups
from dbtool.console.sql_commands import say_notices
from dbtool.console.units import bytes_text, duration_text
from dbtool.errors import DbtoolError, ExitCode
from dbtool.text import printable

if TYPE_CHECKING:
    from dbtool.console.grammar import Call

_CHANGES_NAMES = re.compile(r"\b(create|alter|drop|rename|into|import|rollback|commit|use)\b", re.IGNORECASE)


class Shell:
    """One run of the console."""

    def __init__(self, context: Context, debug: bool = False) -> None:
        self._context = context
        self._debug = debug
        self._session = context.session()
        self._knowledge = BackgroundKnowledge(self._session.names, self._load_backups, self._session.dialect)
        self._prompt: PromptSession[str] = PromptSession(
            message=self._message,
            history=_history(),
            lexer=ConsoleLexer(self._session.dialect),
            completer=ConsoleCompleter(self._knowledge, dialect=self._session.dialect),
            complete_in_thread=True,
            auto_suggest=AutoSuggestFromHistory(),
            bottom_toolbar=self._toolbar,
            prompt_continuation=self._continuation,
            key_bindings=self._key_bindings(),
            style=STYLE,
            multiline=True,
            reserve_space_for_menu=6,
        )

    def run(self) -> ExitCode:
        """Read and run commands until the end; a command that fails does not end the console."""
        narration.note(
            f"{self._session.server_label}, database {self._session.database}. "
            "help lists the commands, Tab completes, Ctrl-D leaves."
        )
        self._knowledge.refresh_names()
        self._knowledge.backups(None)
        while not interrupts.is_terminating():
            try:
                text = self._prompt.prompt()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return ExitCode.DONE
            try:
                self._run_text(text)
            except EOFError:
                return ExitCode.DONE
        return ExitCode.INTERRUPTED

    def _run_text(self, text: str) -> None:
        """Run all commands of what was typed or pasted; the first that fails ends that."""
        try:
            for command in self._commands(text):
                self._run_command(command)
        except (KeyboardInterrupt, Exception) as error:
            if isinstance(error, EOFError):
                raise
            narration.report(error, self._debug)
        finally:
            say_notices(self._session)

    def _commands(self, text: str) -> list[str]:
        lines = text.splitlines(keepends=True)
        for number, line in enumerate(lines):
            if reading.SQL_WORD.match(line):  # SQL goes on to the end of what was typed
                before = reading.split_lines(lines[:number], self._session.dialect)
                return [*before, "".join(lines[number:]).strip()]
        return list(reading.split_lines(lines, self._session.dialect))

    def _run_command(self, text: str) -> None:
        if meta_commands.is_meta_command(text):
            meta_commands.run(self._context, text)
            return
        call = reading.read_line(text, self._session.dialect)
        began = time.monotonic()
        try:
            dispatch.run(self._context, call)
        finally:
            self._after(call)
        words = call.command.words
        says_its_time = words == ("help",) or (words == ("sql",) and not call.flag("extract"))
        if self._context.show_timing and not self._context.wants_json(call) and not says_its_time:
            narration.note(f"({duration_text(time.monotonic() - began)})")

    def _after(self, call: Call) -> None:
        words = call.command.words
        if words == ("restore",) or (words == ("sql",) and _CHANGES_NAMES.search(call.rest[0])):
            self._knowledge.refresh_names()
        if words[0] in ("full", "differential", "catalog", "verify"):
            self._knowledge.forget_backups()

    def _load_backups(self, repository: str | None) -> Backups:
        from dbtool.config import repository as repositories
        from dbtool.console.backup_views import local_time, state_of
        from dbtool.operations import listing
        from dbtool.storage.open import open_store

        context = self._context
        path = repositories.choose(
            repository or context.path,
            context.settings,
            context.engine,
            context.database or "",
            context.server,
        )
        found = listing.list_backups(open_store(path))
        return [
            (
                one.id,
                f"{local_time(one.timestamp_start)}  {bytes_text(one.stored_bytes)}  {state_of(one)}",
            )
            for one in reversed(found)
        ]

    def _message(self) -> StyleAndTextTuples:
        style = "class:prompt.transaction" if self._session.in_transaction else "class:prompt"
        return [(style, f"[{printable(self._session.database)}]"), ("", "> ")]

    def _continuation(self, width: int, line_number: int, wrap_count: int) -> StyleAndTextTuples:  # noqa: ARG002
        return [("class:continuation", " " * width if wrap_count else f"{'… ':>{width}}")]

    def _toolbar(self) -> StyleAndTextTuples:
        user = self._context.settings.text("user")
        where = f"{self._context.server}" + (f" as {user}" if user else "")
        parts: StyleAndTextTuples = [
            (
                "",
                f" {self._session.server_label} │ {printable(self._session.database)} on {printable(where)} ",
            )
        ]
        if self._session.in_transaction:
            parts.append(("class:bottom-toolbar.transaction", " transaction open "))
        if self._knowledge.is_loading_names:
            parts.append(("", "│ reading names … "))
        return parts

    def _key_bindings(self) -> KeyBindings:
        bindings = KeyBindings()

        @bindings.add("enter", filter=completion_is_selected)
        def _take(event: KeyPressEvent) -> None:
            event.current_buffer.complete_state = None

        @bindings.add("enter", filter=~completion_is_selected)
        def _run_or_go_on(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if reading.is_complete(buffer.text, self._session.dialect):
                buffer.validate_and_handle()
            else:
                buffer.insert_text("\n")

        @bindings.add("escape", "enter")
        def _add_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        return bindings


def _history() -> History:
    try:
        return PrivateHistory(history_path())
    except OSError as error:
        narration.note(f"note: the history cannot be kept: {error.strerror}")
        return InMemoryHistory()


def run(context: Context, debug: bool = False) -> ExitCode:
    """Open the console. Raises `ConnectionFailedError` where there is no server to talk to."""
    shell = Shell(context, debug)
    try:
        return shell.run()
    finally:
        try:
            context.close()
        except DbtoolError as error:
            narration.report(error)
