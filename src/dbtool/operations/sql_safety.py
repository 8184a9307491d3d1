"""What does this SQL destroy? Asked before anything is run, so that somebody can say no.

Accidents are what this guards against, not attacks: a function that deletes, called by a SELECT, is
not seen. Statements are parsed; where the parser does not know one, its tokens are judged, and in
doubt it counts as destructive. Defining something that would delete later destroys nothing; nor does
an upsert. MySQL's REPLACE deletes the rows that stand in its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dbtool.engines import lexical
from dbtool.engines.lexical import Kind, Token

# Without one of these as an unquoted word, nothing can be destroyed: most SQL need not be parsed.
_SUSPICIOUS = {
    "postgres": frozenset({"DROP", "TRUNCATE", "DELETE", "UPDATE", "DO", "REASSIGN", "PROGRAM"}),
    "mysql": frozenset(
        {"DROP", "TRUNCATE", "DELETE", "UPDATE", "RESET", "PURGE", "DISCARD", "REPLACE", "PREPARE", "EXECUTE"}
    ),
}
# Statements that destroy nothing, whatever words follow: GRANT DELETE, SET x TO drop, …
_HARMLESS = frozenset(
    {"ABORT", "BEGIN", "CALL", "CHECKPOINT", "CLOSE", "CLUSTER", "COMMENT", "COMMIT", "DEALLOCATE", "DECLARE"}
    | {"END", "FETCH", "GRANT", "IMPORT", "LISTEN", "LOAD", "LOCK", "MOVE", "NOTIFY", "REFRESH", "REINDEX"}
    | {"RELEASE", "REVOKE", "ROLLBACK", "SAVEPOINT", "SECURITY", "SET", "SHOW", "START", "UNLISTEN", "VACUUM"}
)
# What ALTER can lose something of; all else (publications, roles, extensions, …) it only rearranges.
_ALTERED = frozenset({"TABLE", "FOREIGN", "TYPE", "DOMAIN", "IGNORE", "ONLINE"})
_DROPPED_PROPERTIES = frozenset({"DEFAULT", "NOT", "IDENTITY", "EXPRESSION"})
# UPDATE after one of these is a lock, an upsert, a trigger's event or a branch of MERGE.
_NO_UPDATE_AFTER = frozenset({"FOR", "KEY", "DO", "ON", "OR", "OF", "THEN", "BEFORE", "AFTER"})
# What EXPLAIN may explain; none of these is among its options.
_EXPLAINED = frozenset({"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "CREATE"})
_LONGEST_EXCERPT = 60


def dangers(statements: str, dialect: str) -> list[str]:
    """A short reason for each destructive statement, such as "DELETE FROM orders"; empty if harmless.

    `dialect` is "postgres" or "mysql". Never fails, whatever the text.
    """
    found: list[str] = []
    for statement in lexical.split(statements, dialect):
        for reason in _judge(statement.tokens, dialect):
            if reason not in found:
                found.append(reason)
    return found


def _judge(tokens: Sequence[Token], dialect: str) -> list[str]:
    """The dangers of one statement."""
    words = [token.word for token in tokens]
    suspicious = _SUSPICIOUS["mysql" if dialect == "mysql" else "postgres"]
    if not suspicious.intersection(words):
        return []
    first = next((word for word in words if word), "")
    inner = _inner(tokens, words, first, dialect)
    if inner is not None:
        return _judge(inner, dialect)
    text = _without_comments(tokens)
    if dialect == "mysql":
        if first in {"PREPARE", "EXECUTE"}:
            return _dynamic(tokens)
        if first in {"RESET", "PURGE", "REPLACE"} or (first == "LOAD" and "REPLACE" in words):
            return [_excerpt(text)]
        if words[:2] == ["BEGIN", "NOT"]:
            return _from_tokens(tokens, text)
    elif first == "DO":
        return ["DO runs code that may change anything"]
    elif first in {"PREPARE", "EXECUTE", "RESET", "DISCARD", "ANALYZE"}:
        return []
    if first in _HARMLESS or (first == "ALTER" and (words[1:2] or [""])[0] not in _ALTERED):
        return []
    if first == "CREATE":
        replaces = words[1:3] == ["OR", "REPLACE"] and words[3:4] in (["TABLE"], ["DATABASE"], ["SCHEMA"])
        return [_excerpt(text)] if replaces else []
    if first == "COPY" and "PROGRAM" in words:
        return ["COPY … PROGRAM runs a program on the server"]
    tree = _parsed(text, dialect)
    return _from_tokens(tokens, text) if tree is None else _from_tree(tree, text, dialect)


def _inner(tokens: Sequence[Token], words: Sequence[str], first: str, dialect: str) -> Sequence[Token] | None:
    """The statement inside of EXPLAIN ANALYZE and the like; empty where nothing of it is run."""
    if words[:2] == ["SET", "STATEMENT"] and "FOR" in words:  # MariaDB
        return tokens[words.index("FOR") + 1 :]
    if first == "PREPARE" and dialect != "mysql" and "AS" in words:
        return tokens[words.index("AS") + 1 :]
    is_analyze = dialect == "mysql" and first == "ANALYZE"  # MariaDB's EXPLAIN ANALYZE
    if first not in {"EXPLAIN", "DESCRIBE", "DESC"} and not is_analyze:
        return None
    position, analyzes = 1, is_analyze
    for position in range(1, len(tokens)):
        word = words[position]
        if word in {"ANALYZE", "ANALYSE"}:
            following = tokens[position + 1].text.upper() if position + 1 < len(tokens) else ""
            analyzes = following.strip("'") not in {"FALSE", "OFF", "0"}
        elif word in _EXPLAINED:
            break
        elif word in {"EXECUTE", "DECLARE", "TABLE", "VALUES", "REFRESH"}:
            return ()
    return tokens[position:] if analyzes else ()


def _dynamic(tokens: Sequence[Token]) -> list[str]:
    """MySQL's PREPARE s FROM 'text' and EXECUTE IMMEDIATE 'text'."""
    found: list[str] = []
    for token in tokens:
        if token.kind is Kind.STRING:
            found += dangers(token.text[1:-1], "mysql")
    is_immediate = [token.word for token in tokens[:2]] == ["EXECUTE", "IMMEDIATE"]
    if is_immediate and not any(token.kind is Kind.STRING for token in tokens):
        found.append("EXECUTE IMMEDIATE runs SQL that cannot be seen here")
    return found


def _without_comments(tokens: Sequence[Token]) -> str:
    """The statement as its tokens say it: the parser need not know our rules for comments."""
    parts: list[str] = []
    end = tokens[0].start
    for token in tokens:
        parts += [" " if token.start > end else "", token.text]
        end = token.start + len(token.text)
    return "".join(parts)


def _parsed(text: str, dialect: str) -> Any:
    """The statement's tree; None unless the parser understood every part of it."""
    import sqlglot
    from sqlglot import exp

    try:
        with _quiet():
            trees = sqlglot.parse(text, dialect=dialect)
    except Exception:  # the parser is not ours, and whatever it trips over, the tokens are judged instead
        return None
    if len(trees) != 1 or trees[0] is None or trees[0].find(exp.Command):
        return None
    statements = (exp.Query, exp.DML, exp.Drop, exp.TruncateTable, exp.Alter, exp.Merge)
    return trees[0] if isinstance(trees[0], statements) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """The parser warns of what it does not know; that is ours to handle and no news to the user."""
    import logging

    logger = logging.getLogger("sqlglot")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was_disabled


def _from_tree(tree: Any, text: str, dialect: str) -> list[str]:
    from sqlglot import exp

    def name(node: Any) -> str:
        return "" if node is None else _excerpt(node.sql(dialect=dialect, comments=False))

    found: list[str] = []
    for node in tree.walk():
        if isinstance(node, exp.Drop):
            # The whole of an ALTER may be long, and its DROP at the end of it.
            found.append(f"ALTER … {name(node)}" if isinstance(tree, exp.Alter) else _excerpt(text))
        elif isinstance(node, exp.DropPartition):
            found.append("ALTER … DROP PARTITION")
        elif isinstance(node, exp.TruncateTable):
            found.append(f"TRUNCATE {', '.join(name(table) for table in node.expressions)}")
        elif isinstance(node, exp.Delete):
            target = node.args.get("tables") or [node.this]
            found.append(f"DELETE FROM {', '.join(map(name, target))}")  # noqa: S608 - shown, not run
        elif isinstance(node, exp.Update):
            if not isinstance(node.parent, exp.When) and _is_true(node.args.get("where")):
                found.append(f"UPDATE {name(node.this)} without WHERE")
        elif isinstance(node, exp.When):
            then = node.args.get("then")
            if isinstance(then, exp.Delete) or (isinstance(then, exp.Var) and then.name.upper() == "DELETE"):
                found.append("MERGE … DELETE")
    return found


def _is_true(where: Any) -> bool:
    """Whether a WHERE clause is not there, or holds for every row at first sight."""
    from sqlglot import exp

    if where is None:
        return True
    condition = where.this.unnest()
    if isinstance(condition, exp.EQ):
        return isinstance(condition.left, exp.Literal) and condition.left == condition.right
    if isinstance(condition, exp.Literal):
        return condition.name != "0"
    return isinstance(condition, exp.Boolean) and bool(condition.this)


def _from_tokens(tokens: Sequence[Token], text: str) -> list[str]:
    """Judge a statement that the parser does not know. In doubt it destroys."""
    words = [token.word for token in tokens]
    alters = "ALTER" in words[:1]
    depth = 0
    for index, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        before = tokens[index - 1] if index else None
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        if before is not None and before.text == ".":
            continue  # a column of that name
        previous = before.word if before else ""
        following = after.word if after else ""
        destroys = (
            (token.word == "DROP" and following not in _DROPPED_PROPERTIES and not (alters and depth))
            or (token.word == "DELETE" and previous != "ON")
            or (token.word == "TRUNCATE" and not (after and after.text == "("))
            or (
                token.word == "UPDATE" and previous not in _NO_UPDATE_AFTER and not _has_where(tokens[index:])
            )
            or (token.word == "REASSIGN" and following == "OWNED")
            or (token.word == "DISCARD" and alters)
        )
        if destroys:
            return [_excerpt(text)]
    return []


def _has_where(tokens: Sequence[Token]) -> bool:
    """Whether a WHERE follows before the parenthesis that we are in is closed."""
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth < 0:
            return False
        if depth == 0 and token.word == "WHERE":
            return True
    return False


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_EXCERPT else line[: _LONGEST_EXCERPT - 1] + "…"
