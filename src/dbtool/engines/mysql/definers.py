"""In whose name routines, views, triggers and events run: kept, mapped to others, or left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dbtool.engines.lexical import tokens
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.errors import UsageError

ANY = "*"

# Under ANSI_QUOTES and ORACLE, servers write names between double quotes.
_NAME = r"""`(?:[^`]|``)*`|'(?:[^']|'')*'|"(?:[^"]|"")*"|[^\s`'"@=]+"""
_ACCOUNT_TEXT = rf"(?:{_NAME})(?:@(?:{_NAME}))?"
_ACCOUNT = re.compile(rf"\s*({_NAME})(?:@({_NAME}))?")
_PAIR = re.compile(rf"({_ACCOUNT_TEXT})\s*=\s*({_ACCOUNT_TEXT})")
# Behind these words stands the name of what is made, and the rest is its own.
_KINDS = frozenset({"VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "PACKAGE", "LIBRARY", "TABLE"})

Account = tuple[str, str]  # (name, host); a role of MariaDB's has no host


@dataclass(frozen=True)
class Definers:
    """What becomes of the definers of a backup."""

    are_kept: bool = True  # else whoever restores becomes the definer
    mapped: tuple[tuple[Account, Account], ...] = ()  # (old, new); the name `ANY` is any that is not named

    @classmethod
    def parse(cls, are_kept: bool, pairs: Sequence[str]) -> Definers:
        """`pairs` as `-definer` takes them: "old@host=new@host". Raises UsageError."""
        mapped: dict[Account, Account] = {}
        for pair in pairs:
            match = _PAIR.fullmatch(pair.strip())
            if match is None:
                raise UsageError(
                    f"-definer {pair} is not understood",
                    "Say -definer OLD@HOST=NEW@HOST, or -definer *=NEW@HOST for all others; "
                    "a name with = or @ in it stands between back-ticks.",
                )
            old, new = (_account_at(text, 0)[0] for text in match.groups())
            if new[0] == ANY or mapped.setdefault(_key(old), new) != new:
                raise UsageError(
                    f"-definer {pair} says nothing clear", "Each definer is mapped to one account."
                )
        if mapped and not are_kept:
            raise UsageError("-definer and -no-owner contradict each other", "Say one of them.")
        return cls(are_kept, tuple(mapped.items()))

    def of(self, statement: str) -> str:
        """A CREATE or ALTER statement as it is run; any other as it is."""
        if self.are_kept and not self.mapped:
            return statement
        place = _place(statement)
        if place is None:
            return statement
        start, end, account = place
        if not self.are_kept:
            return statement[:start].rstrip() + statement[end:]
        known = dict(self.mapped)
        new = known.get(_key(account)) or known.get((ANY, ""))
        return f"{statement[:start]}DEFINER={_written(new)}{statement[end:]}" if new else statement


def has_definer(statement: str) -> bool:
    """Whether a statement names one."""
    return _place(statement) is not None


def without_definer(statement: str) -> str:
    """A CREATE or ALTER statement without its DEFINER clause: whoever runs it becomes the definer."""
    return Definers(are_kept=False).of(statement)


def _place(statement: str) -> tuple[int, int, Account] | None:
    """Where the clause begins and ends, and who it names."""
    start = -1
    for number, token in enumerate(tokens(statement, "mysql")):
        if number == 0 and token.word not in ("CREATE", "ALTER"):
            return None
        if start >= 0 and token.text == "=":
            account, end = _account_at(statement, token.start + 1)
            return start, end, account
        if token.word in _KINDS:
            return None
        start = token.start if token.word == "DEFINER" else -1
    return None


def _account_at(text: str, position: int) -> tuple[Account, int]:
    match = _ACCOUNT.match(text, position)
    if match is None:
        return ("", ""), position
    return (_plain(match[1]), _plain(match[2] or "")), match.end()


def _plain(name: str) -> str:
    if name[:1] in ("`", "'", '"'):
        return name[1:-1].replace(name[0] * 2, name[0])
    return name


def _key(account: Account) -> Account:
    """As the servers compare accounts: hosts without their case; who has none said is from anywhere."""
    name, host = account
    return name, "" if host == "%" else host.lower()


def _written(account: Account) -> str:
    name, host = account
    return quote_identifier(name) + (f"@{quote_identifier(host)}" if host else "")
