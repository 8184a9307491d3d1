"""SQL text as it is being typed: names, and whether the cursor is in code."""

from __future__ import annotations

from dbtool.engines.lexical import Kind, Token, tokens


def name_of(token: Token, dialect: str) -> str:
    """The identifier that a token stands for, folded or unquoted; empty if it is none. MySQL folds nothing."""
    if token.kind is Kind.WORD:
        return token.text if dialect == "mysql" else token.text.lower()
    if token.kind is Kind.QUOTED:
        mark = token.text[-1] if token.text[0] not in '"`' else token.text[0]
        inner = token.text.partition(mark)[2]
        return (inner if token.is_open else inner.removesuffix(mark)).replace(mark * 2, mark)
    return ""


def end_of(token: Token) -> int:
    """Where the text goes on behind a token."""
    return token.start + len(token.text)


def is_code_at_end(text: str, dialect: str) -> bool:
    """Whether what is typed behind this text is neither in a quote nor in a comment."""
    found = list(tokens(f"{text}\nx" if text.endswith("-") else f"{text} x", dialect))
    return bool(found) and found[-1].text == "x"
