"""The option files of MySQL's and MariaDB's client programs: the user's own is read, and ours are written.

Whatever passwords they hold are registered, so that `redaction.redact` hides them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from dbtool import platforms, redaction
from dbtool.config.sources import home_folder
from dbtool.errors import UsageError

# Groups that every client program of either flavour reads; later lines win.
_GROUPS = ("client", "client-server", "client-mariadb")
_BLANKS = " \t\r\n\f\v"  # Python knows more, which are none to the client programs
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "\\": "\\", "s": " ", '"': '"', "'": "'"}


def users_file() -> Path:
    """`~/.my.cnf`."""
    return home_folder() / ".my.cnf"


def read(file: Path) -> dict[str, str]:
    """What a file says to client programs: names with `-`, such as "ssl-ca". Empty if there is no file.

    Raises UsageError for a file that cannot be read, or that anybody can change.
    """
    try:
        facts = file.stat()
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    if platforms.others_can_change(facts):
        raise UsageError(f"{file} says which server to go to, and others can change it", f"chmod go-w {file}")
    options: dict[str, str] = {}
    group = ""
    for line in (line.strip(_BLANKS) for line in text.split("\n")):
        if line.startswith("["):
            group = line[1:].partition("]")[0].strip()
        elif group in _GROUPS and line and line[0] not in "#;!":
            name, equals, value = line.partition("=")
            if equals:
                name = name.strip(_BLANKS).removeprefix("loose-").replace("_", "-").lower()
                options[name] = _value(value.strip(_BLANKS))
    redaction.register(options.get("password", ""))
    return options


def _value(text: str) -> str:
    """A value without its quotes, its comment and its escapes, as the client programs read it."""
    quoted = re.match(r"""(['"])((?:\\.|(?!\1).)*)\1\s*(?:#.*)?\Z""", text, re.DOTALL)
    plain = quoted.group(2) if quoted else text.partition("#")[0].rstrip(_BLANKS)
    return re.sub(
        r"\\(.)", lambda match: _ESCAPES.get(match.group(1), match.group(0)), plain, flags=re.DOTALL
    )


def file_text(options: Mapping[str, str]) -> str:
    """An option file's text that says this to any client program. Raises UsageError.

    A value cannot hold a NUL; every other character comes out as it is.
    """
    lines = ["[client]"]
    for name, value in options.items():
        if "\0" in value:
            raise UsageError(f"a {name} with a NUL in it cannot be given to client programs")
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        escaped = escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t").replace("\b", "\\b")
        lines.append(f'{name}="{escaped}"')
    return "\n".join(lines) + "\n"
