"""Which function carries out which command. Each is imported when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

from dbtool.console.context import Context
from dbtool.console.grammar import Call, Command
from dbtool.errors import ExitCode

Handler = Callable[[Context, Call], ExitCode]

_HANDLERS: Mapping[tuple[str, ...], str] = MappingProxyType(
    {
        ("list",): "repository_commands:list_backups",
        ("show",): "repository_commands:show",
        ("verify",): "repository_commands:verify",
        ("catalog", "rebuild"): "repository_commands:rebuild_catalogue",
        ("full", "database"): "database_commands:full_database",
        ("full", "tables"): "database_commands:full_tables",
        ("differential", "backup"): "database_commands:differential_backup",
        ("restore",): "database_commands:restore",
        ("doctor",): "settings_commands:doctor",
        ("config", "show"): "settings_commands:config_show",
        ("sql",): "sql_commands:sql",
        ("help",): "help:console_help",
    }
)


def handler(command: Command) -> Handler:
    """The function that carries out a command."""
    module, _, function = _HANDLERS[command.words].partition(":")
    found: Handler = getattr(import_module(f"dbtool.console.{module}"), function)
    return found


def run(context: Context, call: Call) -> ExitCode:
    """Carry out a command. Raises `DbtoolError`, and `EOFError` for exit."""
    if call.command.words == ("exit",):
        raise EOFError
    return handler(call.command)(context, call)
