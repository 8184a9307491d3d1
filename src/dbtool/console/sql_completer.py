"""What can come next in an SQL statement, at the cursor. Pure: text and names in, suggestions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dbtool.console import sql_scope, sql_words
from dbtool.console.names_index import NamesIndex, PrefixIndex
from dbtool.console.sql_text import end_of, is_code_at_end, name_of
from dbtool.engines.lexical import Kind, Token, tokens
from dbtool.engines.session import Relation

LIMIT = 100
_RELATION_WORDS = (
    "from", "join", "into", "update", "table", "only", "truncate", "references", "view", "analyze", "vacuum",
    "copy", "sequence", "lateral", "describe",
)  # fmt: skip
_DEFINING = ("create", "comment", "grant", "revoke", "alter", "drop")
_CLAUSES = (
    "select", "from", "where", "group", "order", "having", "on", "set", "values", "returning", "limit",
    "join", "into", "update", "using", "with", "by", *sql_scope.SET_OPERATIONS,
)  # fmt: skip


@dataclass(frozen=True)
class Suggestion:
    """A text to insert, what it is, and what is shown beside it."""

    text: str
    kind: str  # "column", "table", "schema", "function", "keyword", "type", "database", "role", "query", …
    meta: str = ""
    display: str = ""  # where the list shows something shorter than what is inserted


def suggest(sql: str, cursor: int, index: NamesIndex) -> tuple[int, list[Suggestion]]:
    """Where the word under the cursor begins, and what it could become, the likeliest first."""
    dialect = index.dialect
    before = list(tokens(sql[:cursor], dialect))
    prefix, start = "", cursor
    if before and end_of(before[-1]) == cursor and (name := _partial_name(before[-1], dialect)) is not None:
        prefix, start = name, before[-1].start
        before.pop()
    elif not is_code_at_end(sql[:cursor], dialect) or (
        before and end_of(before[-1]) == cursor and before[-1].kind is not Kind.SYMBOL
    ):
        return cursor, []
    qualifiers: list[str] = []
    while len(before) >= 2 and before[-1].text == "." and name_of(before[-2], dialect):
        qualifiers.insert(0, name_of(before[-2], dialect))
        del before[-2:]
    if before and before[-1].text == ".":
        return start, []
    chain = sql_scope.enclosing(sql_scope.statement_at(sql, cursor, dialect), cursor)
    found = (
        _qualified(chain, cursor, qualifiers, prefix, index)
        if qualifiers
        else _plain(chain, cursor, before, prefix, index)
    )
    unique: dict[tuple[str, str], Suggestion] = {}
    for suggestion in found:
        unique.setdefault((suggestion.text.lower(), suggestion.kind), suggestion)
        if len(unique) == LIMIT:
            break
    return start, [_in_case_of(prefix, suggestion) for suggestion in unique.values()]


def _in_case_of(prefix: str, suggestion: Suggestion) -> Suggestion:
    if suggestion.kind == "keyword" and prefix.islower():
        return Suggestion(suggestion.text.lower(), suggestion.kind, suggestion.meta)
    return suggestion


def _partial_name(token: Token, dialect: str) -> str | None:
    if token.kind is Kind.WORD:
        return token.text
    if token.kind is Kind.QUOTED and token.is_open:
        return name_of(token, dialect)
    return None


def _qualified(
    chain: list[sql_scope.Group], cursor: int, qualifiers: list[str], prefix: str, index: NamesIndex
) -> Iterator[Suggestion]:
    if len(qualifiers) >= 2:
        relation = index.relation(qualifiers[-2], qualifiers[-1])
        yield from _columns(relation.columns if relation else (), prefix, qualifiers[-1], index)
        return
    for source in sql_scope.sources(chain, cursor, index):
        if source.name.lower() == qualifiers[0].lower():
            yield from _columns(source.columns, prefix, source.name, index)
    yield from _relations(index.relations_of(qualifiers[0]).find(prefix, LIMIT), index, with_schema=False)
    for schema, name in index.functions.find(prefix, 10 * LIMIT) if prefix else ():
        if schema == qualifiers[0]:
            yield Suggestion(f"{index.quoted(name)}(", "function", schema)


def _plain(
    chain: list[sql_scope.Group], cursor: int, before: list[Token], prefix: str, index: NamesIndex
) -> Iterator[Suggestion]:
    # Of the innermost parentheses, what stands before the cursor.
    level = [token for token in before if token.start >= chain[0].start]
    opening = before[: len(before) - len(level)]
    previous = before[-1] if before else None
    word = previous.word.lower() if previous is not None else ""
    if previous is None or previous.text == ";":
        yield from _keywords(sql_words.of(index.dialect).statements, prefix)
        return
    first = next((token.word.lower() for token in before if token.word), "")
    clause = _clause(level)
    if [token.text for token in before[-2:]] == [":", ":"] or (word == "as" and _opened_by(opening, "cast")):
        yield from (Suggestion(name, "type") for name in index.types.find(prefix, LIMIT))
    elif (
        word in _RELATION_WORDS or (word == "on" and first in _DEFINING) or _continues_from(clause, previous)
    ):
        yield from _targets(chain, prefix, index)
    elif _is_column_list(opening, level, index.dialect):
        yield from _insert_columns(opening, prefix, index)
    elif word in ("database", "use"):
        yield from (
            Suggestion(index.quoted(name), "database") for name in index.databases.find(prefix, LIMIT)
        )
    elif word in ("role", "user", "authorization") or (word == "to" and first in ("grant", "alter")):
        yield from (Suggestion(index.quoted(name), "role") for name in index.roles.find(prefix, LIMIT))
    elif word == "schema":
        yield from (Suggestion(index.quoted(name), "schema") for name in index.schemas.find(prefix, LIMIT))
    elif word in ("function", "procedure", "call", "routine"):
        yield from _functions(prefix, index)
    else:
        yield from _expression(sql_scope.sources(chain, cursor, index), clause, previous, prefix, index)


def _expression(
    sources: list[sql_scope.Source], clause: str, previous: Token, prefix: str, index: NamesIndex
) -> Iterator[Suggestion]:
    after_name = previous.kind in (Kind.QUOTED, Kind.NUMBER, Kind.STRING) or (
        previous.kind is Kind.WORD and previous.text.lower() not in sql_words.of(index.dialect).every_word
    )
    wants_column = (
        not after_name and previous.text != ")" and clause not in ("from", "join", "limit", "values")
    )
    if wants_column:
        for source in sources:
            yield from _columns(source.columns, prefix, source.name, index)
        for source in sources:
            if source.name.lower().startswith(prefix.lower()):
                yield Suggestion(f"{index.quoted(source.name)}.", "query", "in this statement")
    if not prefix:
        return
    yield from _keywords(sql_words.of(index.dialect).common, prefix)
    if wants_column:
        yield from _functions(prefix, index)
        if not sources:
            for column, meta in index.columns.find(prefix, LIMIT // 2):
                yield Suggestion(index.quoted(column), "column", meta)
    yield from _keywords((keyword.upper() for keyword in index.names.keywords), prefix)
    if wants_column:
        yield from _relations(index.relations(prefix, LIMIT // 4), index)


def _targets(chain: list[sql_scope.Group], prefix: str, index: NamesIndex) -> Iterator[Suggestion]:
    for name in sql_scope.with_queries(chain, index):
        if name.lower().startswith(prefix.lower()):
            yield Suggestion(index.quoted(name), "query", "WITH query")
    yield from _relations(index.relations(prefix, LIMIT), index)
    for schema in index.schemas.find(prefix, LIMIT):
        yield Suggestion(f"{index.quoted(schema)}.", "schema", "schema")
    if prefix:
        yield from _keywords(sql_words.of(index.dialect).before_relations, prefix)


def _insert_columns(opening: list[Token], prefix: str, index: NamesIndex) -> Iterator[Suggestion]:
    names = _name_chain_before(opening, index.dialect)
    relation = index.relation(names[-2] if len(names) > 1 else None, names[-1])
    yield from _columns(relation.columns if relation else (), prefix, names[-1], index)


def _is_column_list(opening: list[Token], level: list[Token], dialect: str) -> bool:
    """Whether the parenthesis is that of `INSERT INTO t (…`."""
    if any(token.word in ("SELECT", "WITH", "VALUES") for token in level[:1]):
        return False
    names = _name_chain_before(opening, dialect)
    taken = 2 * len(names) - 1
    return bool(names) and len(opening) > taken + 1 and opening[-taken - 2].word == "INTO"


def _name_chain_before(opening: list[Token], dialect: str) -> list[str]:
    names: list[str] = []
    position = len(opening) - 2  # the last is the parenthesis
    while position >= 0 and name_of(opening[position], dialect):
        names.insert(0, name_of(opening[position], dialect))
        if position < 2 or opening[position - 1].text != ".":
            break
        position -= 2
    return names


def _clause(level: list[Token]) -> str:
    depth = 0
    for token in reversed(level):
        depth += {")": 1, "(": -1}.get(token.text, 0)
        if depth == 0 and token.word.lower() in _CLAUSES:
            return token.text.lower()
    return ""


def _continues_from(clause: str, previous: Token) -> bool:
    return clause == "from" and previous.text == ","


def _opened_by(opening: list[Token], word: str) -> bool:
    return len(opening) >= 2 and opening[-2].word == word.upper()


def _columns(
    columns: Iterable[tuple[str, str]], prefix: str, source: str, index: NamesIndex
) -> Iterator[Suggestion]:
    lowered = prefix.lower()
    matching = [
        (not name.lower().startswith(lowered), name, type_name)
        for name, type_name in columns
        if name.lower().startswith(lowered) or f"_{lowered}" in name.lower()
    ]
    for _, name, type_name in sorted(matching, key=lambda match: match[0]):
        yield Suggestion(index.quoted(name), "column", f"{type_name}  {source}".strip())


def _relations(
    relations: Iterable[Relation], index: NamesIndex, with_schema: bool = True
) -> Iterator[Suggestion]:
    for relation in relations:
        text = index.quoted(relation.name)
        if with_schema and not relation.visible:
            text = f"{index.quoted(relation.schema)}.{text}"
        yield Suggestion(text, "table", f"{relation.kind}  {relation.schema}")


def _functions(prefix: str, index: NamesIndex) -> Iterator[Suggestion]:
    functions: PrefixIndex[tuple[str, str]] = index.functions
    for schema, name in functions.find(prefix, LIMIT // 2):
        if not prefix or name.lower().startswith(prefix.lower()):
            needs_none = schema in ("", "pg_catalog", "public") or schema in index.visible_schemas
            qualifier = "" if needs_none else f"{index.quoted(schema)}."
            yield Suggestion(f"{qualifier}{index.quoted(name)}(", "function", schema)


def _keywords(keywords: Iterable[str], prefix: str) -> Iterator[Suggestion]:
    upper = prefix.upper()
    for keyword in keywords:
        if keyword.startswith(upper):
            yield Suggestion(keyword, "keyword")
