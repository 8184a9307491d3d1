"""A table's definition, as SHOW CREATE TABLE writes it, taken apart into what comes before and behind rows.

Every word is the server's own. What is added is said by the server elsewhere: collations that it leaves
to a default, which other servers have otherwise. What is taken away is the database's own name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dbtool.engines.lexical import Kind, Token, tokens
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.errors import DbtoolError

_ESCAPES = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "b": "\b"}
_APART = frozenset({"FULLTEXT", "SPATIAL", "VECTOR"})


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key. `parent` is the table that it points to, if that is in the same database."""

    name: str
    parent: str | None
    clause: str  # "CONSTRAINT … FOREIGN KEY …"


@dataclass(frozen=True)
class Definition:
    """What makes a table, in the order in which it is made."""

    create: str  # with the keys that rows need
    keys: tuple[str, ...]  # the names of all keys, in the server's order
    indexes: tuple[str, ...]  # definitions that one ALTER TABLE adds
    indexes_apart: tuple[str, ...]  # definitions of which each needs one of its own
    foreign_keys: tuple[ForeignKey, ...]


@dataclass(frozen=True)
class Names:
    """What a definition is to be read with."""

    database: str
    collations: Mapping[str, str | None]  # by column
    table_collation: str
    is_mariadb: bool


@dataclass(frozen=True)
class _Item:
    """One line of a definition between its parentheses: a column, a key, a constraint."""

    text: str
    tokens: tuple[Token, ...]  # with places within the text

    @property
    def is_column(self) -> bool:
        return self.tokens[0].kind is Kind.QUOTED

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(token.word for token in self.tokens)


def name_of(token: Token) -> str:
    """What an identifier is called; it may stand in back-ticks, in double quotes, or bare."""
    text = token.text
    if token.kind in (Kind.QUOTED, Kind.STRING) and text[:1] in ("`", '"'):
        return text[1:-1].replace(text[0] * 2, text[0])
    return text


def take_apart(text: str, names: Names, keeps_keys: bool) -> Definition:
    """Take a CREATE TABLE statement apart. With `keeps_keys` all keys stay in it.

    `text` is as it comes from the server, without a semicolon; bytes that are no UTF-8 are in it as
    `surrogateescape` keeps them. Raises DbtoolError where it is no such statement.
    """
    found = list(tokens(text, "mysql"))
    opens = next((place for place, token in enumerate(found) if token.text == "("), None)
    if opens is None or [token.word for token in found[:2]] != ["CREATE", "TABLE"]:
        raise DbtoolError("the server wrote a table's definition that is not understood", text[:200])
    items, closes = _items(text, found, opens)
    if not items[0].is_column:
        raise DbtoolError("the server wrote a table's definition that is not understood", text[:200])
    kept: list[str] = []
    waiting: list[_Item] = []
    foreign_keys: list[ForeignKey] = []
    keys = [item for item in items if not item.is_column and _is_key(item)]
    needed = len(keys) if keeps_keys else _needed_keys(items, keys)
    for item in items:
        if item.is_column:
            kept.append(_column(item, names))
        elif "FOREIGN" in item.words[:3]:
            foreign_keys.append(_foreign_key(item, names))
        elif item in keys[needed:]:
            waiting.append(item)
        else:
            kept.append(_without_database(item, names.database))
    head = text[: found[opens].start + 1]
    tail = _options(text, found[closes:], names)
    return Definition(
        create=f"{head}\n  " + ",\n  ".join(kept) + f"\n{tail}",
        keys=tuple(_key_name(item) for item in keys),
        indexes=tuple(item.text for item in waiting if item.words[0] not in _APART),
        indexes_apart=tuple(item.text for item in waiting if item.words[0] in _APART),
        foreign_keys=tuple(foreign_keys),
    )


def _items(text: str, found: Sequence[Token], opens: int) -> tuple[list[_Item], int]:
    """What stands between the parentheses, parted at the commas; and which token closes them."""
    items: list[_Item] = []
    depth, first = 0, opens + 1
    for place in range(opens, len(found)):
        token = found[place]
        if token.kind is not Kind.SYMBOL:
            continue
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 or (depth == 1 and token.text == ","):
            start, end = found[first - 1].start + 1, token.start
            piece = text[start:end]
            start += len(piece) - len(piece.lstrip(" \n"))
            own = tuple(Token(t.kind, t.text, t.start - start, t.is_open) for t in found[first:place])
            items.append(_Item(piece.strip(" \n"), own))
            first = place + 1
            if depth == 0:
                return items, place
    raise DbtoolError("the server wrote a table's definition without an end", text[:200])


def _needed_keys(items: Sequence[_Item], keys: Sequence[_Item]) -> int:
    """How many of the keys rows need: the primary key, or what stands for it; and the one of the column
    that counts by itself. Those before them stay as well, for the order of keys is theirs for good."""
    whole = {name_of(item.tokens[0]) for item in items if item.is_column and _is_not_null(item)}
    for_order = next(
        (
            number
            for number, item in enumerate(keys)
            if item.words[0] == "PRIMARY" or (item.words[0] == "UNIQUE" and set(_key_columns(item)) <= whole)
        ),
        -1,
    )
    counter = _counter(items)
    counting = [number for number, item in enumerate(keys) if counter and counter in _key_columns(item)]
    first = [number for number in counting if _key_columns(keys[number])[:1] == [counter]]
    return max([for_order, *first[:1]] if first else [for_order, *counting[:1]]) + 1


def _is_key(item: _Item) -> bool:
    return item.words[0] in _APART | {"PRIMARY", "UNIQUE", "KEY", "INDEX"}


def _key_name(item: _Item) -> str:
    if item.words[0] == "PRIMARY":
        return "PRIMARY"
    return next((name_of(token) for token in item.tokens if token.kind is Kind.QUOTED), "")


def _key_columns(item: _Item) -> list[str]:
    """The names in a key's first pair of parentheses; an expression's are not told from columns, and a
    prefix is no whole column: its name is left out."""
    columns: list[str] = []
    depth = 0
    for place, token in enumerate(item.tokens):
        if token.kind is Kind.SYMBOL:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0 and columns:
                break
        elif token.kind is Kind.QUOTED and depth == 1:
            following = item.tokens[place + 1].text if place + 1 < len(item.tokens) else ""
            columns.append(name_of(token) if following != "(" else "\0a prefix")
    return columns


def _counter(items: Sequence[_Item]) -> str | None:
    """The column that counts by itself: it must be in a key from the beginning."""
    return next((name_of(i.tokens[0]) for i in items if i.is_column and "AUTO_INCREMENT" in i.words), None)


def _is_not_null(item: _Item) -> bool:
    return any(pair == ("NOT", "NULL") for pair in zip(item.words, item.words[1:], strict=False))


def _foreign_key(item: _Item, names: Names) -> ForeignKey:
    place = item.words.index("REFERENCES")
    parent: str | None = name_of(item.tokens[place + 1])
    if item.tokens[place + 2].text == ".":
        parent = name_of(item.tokens[place + 3]) if parent == names.database else None
    name = name_of(item.tokens[1]) if item.words[0] == "CONSTRAINT" else ""
    return ForeignKey(name, parent, _without_database(item, names.database))


# ---- columns and options ---------------------------------------------------------------------------


class _Edits:
    """Changes to a text at places of it, made at once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._changes: list[tuple[int, int, str]] = []

    def replace(self, start: int, end: int, by: str) -> None:
        self._changes.append((start, end, by))

    def done(self) -> str:
        text = self._text
        for start, end, by in sorted(self._changes, reverse=True):
            text = text[:start] + by + text[end:]
        return text


def _column(item: _Item, names: Names) -> str:
    edits = _Edits(item.text)
    _edit_database(edits, item.tokens, names.database)
    for place, token in enumerate(item.tokens):
        if token.kind is Kind.STRING and _is_not_utf8(token.text):
            # The name of a character set may stand right before it, and would take the x for its own.
            space = " " if item.text[: token.start][-1:].isalnum() else ""
            written = space + _in_hexadecimal(token.text)
            edits.replace(token.start, token.start + len(token.text), written)
        if item.words[place : place + 2] == ("CHARACTER", "SET"):
            charset = item.tokens[place + 2]
            follows = item.words[place + 3] if place + 3 < len(item.words) else ""
            collation = names.collations.get(name_of(item.tokens[0]))
            if follows != "COLLATE" and collation and _differs_elsewhere(charset.text, names):
                end = charset.start + len(charset.text)
                edits.replace(end, end, f" COLLATE {collation}")
    return edits.done()


def _differs_elsewhere(charset: str, names: Names) -> bool:
    """Whether another server may give the character set another collation by default.

    MariaDB can be told so for each. MySQL remembers where a collation was said, and shows it ever after,
    so there it is said only where it must be.
    """
    return (names.is_mariadb and charset.lower() != "binary") or charset.lower() == "utf8mb4"


def _options(text: str, found: Sequence[Token], names: Names) -> str:
    """What stands behind the columns: engine, character set, comment, partitions."""
    start = found[0].start
    edits = _Edits(text[start:])
    words = [token.word for token in found]
    for place, word in enumerate(words):
        if word == "CHARSET" and "COLLATE" not in words[place : place + 4] and names.table_collation:
            charset = found[place + 2]
            if _differs_elsewhere(charset.text, names):
                end = charset.start + len(charset.text) - start
                edits.replace(end, end, f" COLLATE={names.table_collation}")
            break
        if word == "COLLATE":
            break
    return edits.done()


def _is_not_utf8(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text)


def _in_hexadecimal(literal: str) -> str:
    """A string literal whose bytes are no text, as SQL that is."""
    body, quote = literal[1:-1], literal[0]
    plain: list[str] = []
    place = 0
    while place < len(body):
        character = body[place]
        if character == "\\" and place + 1 < len(body):
            place += 1
            character = _ESCAPES.get(body[place], body[place])
        elif character == quote:
            place += 1  # it is doubled
        plain.append(character)
        place += 1
    return f"x'{''.join(plain).encode('utf-8', 'surrogateescape').hex()}'"


def _without_database(item: _Item, database: str) -> str:
    edits = _Edits(item.text)
    _edit_database(edits, item.tokens, database)
    return edits.done()


def _edit_database(edits: _Edits, found: Sequence[Token], database: str) -> None:
    """Take the database's name away where it qualifies another; in a definition it does nothing else."""
    for before, token, after in zip([None, *found], found, found[1:], strict=False):
        is_qualifier = (
            token.kind is Kind.QUOTED and after.text == "." and (before is None or before.text != ".")
        )
        if is_qualifier and name_of(token) == database:
            edits.replace(token.start, after.start + 1, "")


def index_statement(table: str, definitions: Sequence[str]) -> str:
    """The ALTER TABLE that adds indexes."""
    return f"ALTER TABLE {quote_identifier(table)}\n  ADD " + ",\n  ADD ".join(definitions) + ";\n"


def foreign_key_statement(table: str, key: ForeignKey) -> str:
    """The ALTER TABLE that adds a foreign key."""
    return f"ALTER TABLE {quote_identifier(table)} ADD {key.clause};\n"


# ---- views -----------------------------------------------------------------------------------------


def view_without_database(text: str, database: str) -> tuple[str, set[str], set[str]]:
    """A view's definition without the database's name before its own tables and functions; the names of
    tables and views that it reads from the database, and of what may be functions of it that it calls.

    The server writes every name in back-ticks. Where something in the view has the database's name
    for an alias, two-part names of columns may mean that, and are left as they are.
    """
    found = list(tokens(text, "mysql"))
    edits = _Edits(text)
    reads: set[str] = set()
    calls: set[str] = set()
    is_alias_too = any(
        token.kind is Kind.QUOTED
        and name_of(token) == database
        and (_text(found, place + 1) != "." or _text(found, place - 1) == ".")
        for place, token in enumerate(found)
    )
    sources = set(_sources(found))
    for place, token in enumerate(found):
        if token.kind is not Kind.QUOTED or _text(found, place - 1) == ".":
            continue
        is_qualified = _text(found, place + 1) == "." and name_of(token) == database
        if is_qualified:
            is_column = _text(found, place + 3) not in (".", "(") and place not in sources
            if is_column and is_alias_too:
                continue
            edits.replace(token.start, found[place + 2].start, "")
        own = found[place + 2] if is_qualified else token
        following = _text(found, place + 3 if is_qualified else place + 1)
        if following == "(":
            calls.add(name_of(own))
        elif place in sources and following != ".":
            reads.add(name_of(own))
    return edits.done(), reads, calls


def _text(found: Sequence[Token], place: int) -> str:
    return found[place].text if 0 <= place < len(found) else ""


def _sources(found: Sequence[Token]) -> Iterator[int]:
    """The places of names that stand where a table does: behind FROM, JOIN, or an opening parenthesis
    or a comma of such a place."""
    for place, token in enumerate(found):
        if token.kind is not Kind.QUOTED:
            continue
        back = place - 1
        while _text(found, back) == "(":
            back -= 1
        word = found[back].word if back >= 0 else ""
        is_listed = _text(found, back) == "," and back == place - 1 and _is_in_from(found, back)
        if word in ("FROM", "JOIN", "STRAIGHT_JOIN") or is_listed:
            yield place


def _is_in_from(found: Sequence[Token], place: int) -> bool:
    """Whether a comma parts tables: the last clause word before it, at its depth, is FROM."""
    depth = 0
    for token in reversed(found[:place]):
        if token.text == ")":
            depth += 1
        elif token.text == "(":
            depth -= 1
        elif depth <= 0 and token.word in ("FROM", "JOIN"):
            return True
        elif depth <= 0 and token.word in ("SELECT", "WHERE", "ON", "BY", "HAVING", "SET", "USING"):
            return False
    return False
