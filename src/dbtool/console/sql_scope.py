"""Which tables, aliases and WITH queries an SQL statement in the making lets one speak of at a place.

Works on tokens and parentheses alone, so that it copes with statements that do not parse yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dbtool.console.names_index import NamesIndex
from dbtool.console.sql_text import end_of, name_of
from dbtool.engines.lexical import Kind, Token, tokens

Columns = tuple[tuple[str, str], ...]  # (name, type)

SET_OPERATIONS = ("union", "intersect", "except")
_BEFORE_RELATION = ("from", "join", "update", "into", "using", "table", "truncate", "analyze", "only")
_ENDS_FROM = (
    "where", "group", "order", "having", "limit", "offset", "fetch", "set", "values", "returning", "window",
    "for", "select", *SET_OPERATIONS,
)  # fmt: skip
_NO_ALIAS = (
    *_ENDS_FROM, "join", "left", "right", "inner", "outer", "full", "cross", "natural", "on", "using",
    "tablesample", "default", "as", "do", "when", "from", "with", "and", "or", "not", "add", "drop", "alter",
    "rename", "owner",
)  # fmt: skip


@dataclass
class Group:
    """What stands between a pair of parentheses, or the whole statement."""

    start: int
    end: int
    items: list[Token | Group] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """Something that columns can come from, under the name it has in the statement."""

    name: str
    columns: Columns


def statement_at(sql: str, cursor: int, dialect: str) -> Group:
    """The statement around the cursor, with its parentheses nested."""
    whole = Group(0, len(sql) + 1)
    stack = [whole]
    for token in tokens(sql, dialect):
        if token.kind is Kind.SYMBOL and token.text == ";":
            if token.start >= cursor:
                break
            whole = Group(end_of(token), len(sql) + 1)
            stack = [whole]
        elif token.kind is Kind.SYMBOL and token.text == "(":
            group = Group(end_of(token), len(sql) + 1)
            stack[-1].items.append(group)
            stack.append(group)
        elif token.kind is Kind.SYMBOL and token.text == ")":
            if len(stack) > 1:
                stack.pop().end = token.start
        else:
            stack[-1].items.append(token)
    return whole


def enclosing(statement: Group, cursor: int) -> list[Group]:
    """The groups around the cursor, the innermost first."""
    chain = [statement]
    while True:
        inner = next(
            (item for item in chain[0].items if isinstance(item, Group) and item.start <= cursor <= item.end),
            None,
        )
        if inner is None:
            return chain
        chain.insert(0, inner)


def sources(chain: list[Group], cursor: int, index: NamesIndex) -> list[Source]:
    """What is in scope at the cursor: of the innermost query first, then of those around it."""
    ctes = with_queries(chain, index)
    found: list[Source] = []
    for group in chain:
        found += _sources_of(_query_around(group.items, cursor), ctes, index)
    return found


def with_queries(chain: list[Group], index: NamesIndex) -> dict[str, Columns]:
    """The WITH queries of all levels, with their columns as far as those can be told."""
    ctes: dict[str, Columns] = {}
    for group in reversed(chain):
        items = group.items
        position = 0
        while position < len(items):
            if _word(items[position]) == "with":
                position = _read_with(items, position + 1, ctes, index)
            position += 1
    return ctes


def _read_with(items: list[Token | Group], position: int, ctes: dict[str, Columns], index: NamesIndex) -> int:
    if position < len(items) and _word(items[position]) == "recursive":
        position += 1
    while position < len(items):
        name = _name(items[position], index)
        position += 1
        if not name:
            break
        given: Columns = ()
        if position < len(items) and isinstance(columns := items[position], Group):
            given = tuple((column, "") for item in columns.items if (column := _name(item, index)))
            position += 1
        while position < len(items) and _word(items[position]) in ("as", "not", "materialized"):
            position += 1
        if position < len(items) and isinstance(body := items[position], Group):
            ctes[name] = given
            ctes[name] = given or _result_columns(body.items, dict(ctes), index)
            position += 1
        if position >= len(items) or _symbol(items[position]) != ",":
            break
        position += 1
    return position - 1


def _query_around(items: list[Token | Group], cursor: int) -> list[Token | Group]:
    start, end = 0, len(items)
    for position, item in enumerate(items):
        if _word(item) in SET_OPERATIONS:
            if _start(item) < cursor:
                start = position + 1
            else:
                end = position
                break
    return items[start:end]


def _sources_of(items: list[Token | Group], ctes: dict[str, Columns], index: NamesIndex) -> list[Source]:
    found: list[Source] = []
    position, in_from = 0, False
    while position < len(items):
        item = items[position]
        word, previous = _word(item), _word(items[position - 1]) if position else ""
        if word in _ENDS_FROM:
            in_from = False
        begins = word in _BEFORE_RELATION and not (
            (word == "update" and previous in ("for", "do", "key"))
            or (word == "from" and previous == "distinct")
        )
        if begins or (in_from and _symbol(item) == ","):
            in_from = in_from or word in ("from", "using", "update", "join")
            source, position = _read_source(items, position + 1, ctes, index)
            if source is not None:
                found.append(source)
        else:
            position += 1
    return found


def _read_source(
    items: list[Token | Group], position: int, ctes: dict[str, Columns], index: NamesIndex
) -> tuple[Source | None, int]:
    while position < len(items) and _word(items[position]) in (
        "only",
        "lateral",
        "table",
        "if",
        "not",
        "exists",
    ):
        position += 1
    if position >= len(items):
        return None, position
    columns: Columns
    item = items[position]
    if isinstance(item, Group):
        name, columns = "", _result_columns(item.items, ctes, index)
        position += 1
    else:
        if item.kind is Kind.WORD and item.text.lower() in _NO_ALIAS:
            return None, position
        name = name_of(item, index.dialect)
        if not name:
            return None, position
        schema: str | None = None
        position += 1
        if (
            position + 1 < len(items)
            and _symbol(items[position]) == "."
            and _name(items[position + 1], index)
        ):
            schema, name = name, _name(items[position + 1], index)
            position += 2
        relation = index.relation(schema, name)
        columns = ctes[name] if schema is None and name in ctes else relation.columns if relation else ()
    if position < len(items) and _word(items[position]) == "as":
        position += 1
    if (
        position < len(items)
        and (alias := _name(items[position], index))
        and _word(items[position]) not in _NO_ALIAS
    ):
        name = alias
        position += 1
        if position < len(items) and isinstance(renamed := items[position], Group):
            names = [column for part in renamed.items if (column := _name(part, index))]
            columns = tuple(
                (new, columns[at][1] if at < len(columns) else "") for at, new in enumerate(names)
            )
            position += 1
    return (Source(name, columns) if name else None), position


def _result_columns(items: list[Token | Group], ctes: dict[str, Columns], index: NamesIndex) -> Columns:
    """The columns of a query, as far as its text tells them."""
    if not any(_word(item) in ("select", "returning", "values") for item in items):
        inner = next((item for item in items if isinstance(item, Group)), None)
        return _result_columns(inner.items, ctes, index) if inner is not None else ()
    end = next((at for at, item in enumerate(items) if _word(item) in SET_OPERATIONS), len(items))
    query = items[:end]
    found = _sources_of(query, ctes, index)
    columns: list[tuple[str, str]] = []
    for part in _select_list(query):
        last = part[-1]
        if _symbol(last) == "*" and (len(part) == 1 or _symbol(part[-2]) == "."):
            wanted = _name(part[-3], index) if len(part) >= 3 else ""
            columns += [
                column for source in found if wanted in ("", source.name) for column in source.columns
            ]
        elif name := _name(last, index):
            types = dict(column for source in found for column in source.columns) if len(part) <= 3 else {}
            columns.append((name, types.get(name, "")))
        elif isinstance(last, Group) and len(part) >= 2 and (name := _name(part[-2], index)):
            columns.append((name, ""))
    return tuple(columns)


def _select_list(items: list[Token | Group]) -> Iterator[list[Token | Group]]:
    begin = next((at for at, item in enumerate(items) if _word(item) in ("select", "returning")), len(items))
    part: list[Token | Group] = []
    for item in items[begin + 1 :]:
        if _word(item) in ("from", "where", "group", "order", "limit", "into"):
            break
        if _symbol(item) == ",":
            if part:
                yield part
            part = []
        elif not (not part and _word(item) in ("distinct", "all")):
            part.append(item)
    if part:
        yield part


def _word(item: Token | Group) -> str:
    return item.text.lower() if isinstance(item, Token) and item.kind is Kind.WORD else ""


def _name(item: Token | Group, index: NamesIndex) -> str:
    return name_of(item, index.dialect) if isinstance(item, Token) else ""


def _symbol(item: Token | Group) -> str:
    return item.text if isinstance(item, Token) and item.kind is Kind.SYMBOL else ""


def _start(item: Token | Group) -> int:
    return item.start
