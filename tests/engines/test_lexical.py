"""Where statements begin and end, in both dialects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtool.engines import lexical

POSTGRES = {
    "": [],
    " ; ;; -- nothing\n/* ; */": [],
    "SELECT 1": ["SELECT 1"],
    "SELECT 1; SELECT 2;": ["SELECT 1", "SELECT 2"],
    "SELECT 'a;''b'; SELECT 2": ["SELECT 'a;''b'", "SELECT 2"],
    "SELECT 'back\\'; SELECT 2": ["SELECT 'back\\'", "SELECT 2"],
    "SELECT E'it\\'s;'; SELECT 2": ["SELECT E'it\\'s;'", "SELECT 2"],
    'SELECT "a;""b"; SELECT 2': ['SELECT "a;""b"', "SELECT 2"],
    "SELECT $$;$$; SELECT $a$ $$; $b$ $a$": ["SELECT $$;$$", "SELECT $a$ $$; $b$ $a$"],
    "SELECT a$$b; SELECT 1": ["SELECT a$$b", "SELECT 1"],  # a letter before makes it a name
    "SELECT $1; SELECT 2": ["SELECT $1", "SELECT 2"],
    "SELECT 1 -- a;b\n; SELECT 2": ["SELECT 1 -- a;b", "SELECT 2"],
    "/* a; /* b; */ c; */ SELECT 1": ["/* a; /* b; */ c; */ SELECT 1"],
    "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b); SELECT 1": [
        "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b)",
        "SELECT 1",
    ],
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; SELECT 3": [
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END",
        "SELECT 3",
    ],
    "BEGIN; SELECT 1; END; SELECT 2": ["BEGIN", "SELECT 1", "END", "SELECT 2"],
}
MYSQL = {
    "SELECT 'it\\'s; '; SELECT \"a;\\\"\"; SELECT `a;``b`": [
        "SELECT 'it\\'s; '",
        'SELECT "a;\\""',
        "SELECT `a;``b`",
    ],
    "SELECT 1 # a;b\n; SELECT 2": ["SELECT 1 # a;b", "SELECT 2"],
    "SELECT 1--2; SELECT 3": ["SELECT 1--2", "SELECT 3"],
    "SELECT 2*/* ; /* ; */3; SELECT 4": ["SELECT 2*/* ; /* ; */3", "SELECT 4"],
    "/*!50000 SELECT 1 */; SELECT 2": ["/*!50000 SELECT 1 */", "SELECT 2"],
    "CREATE PROCEDURE p() BEGIN IF a THEN DO 1; END IF; CASE b WHEN 1 THEN DO 2; END CASE; END; SELECT 3": [
        "CREATE PROCEDURE p() BEGIN IF a THEN DO 1; END IF; CASE b WHEN 1 THEN DO 2; END CASE; END",
        "SELECT 3",
    ],
    "BEGIN; DELETE FROM t; COMMIT": ["BEGIN", "DELETE FROM t", "COMMIT"],
    "BEGIN NOT ATOMIC SELECT 1; END; SELECT 2": ["BEGIN NOT ATOMIC SELECT 1; END", "SELECT 2"],
}
OPEN = [
    "SELECT 'a",
    'SELECT "a',
    "SELECT (1",
    "SELECT /* a",
    "SELECT $$a",
    "SELECT $a$ $$",
    "SELECT 'a''",
    "E'\\",
]
OPEN += ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;"]


@pytest.mark.parametrize(("text", "expected"), POSTGRES.items())
def test_statements_end_where_postgres_says(text: str, expected: list[str]) -> None:
    assert [statement.text for statement in lexical.split(text, "postgres")] == expected
    assert lexical.is_complete(text, "postgres")


@pytest.mark.parametrize(("text", "expected"), MYSQL.items())
def test_statements_end_where_mysql_says(text: str, expected: list[str]) -> None:
    assert [statement.text for statement in lexical.split(text, "mysql")] == expected
    assert lexical.is_complete(text, "mysql")


@pytest.mark.parametrize("text", OPEN)
def test_what_is_open_is_not_complete(text: str) -> None:
    assert not lexical.is_complete(text, "postgres")


@given(st.text(alphabet="'\"$;/*-\\()Ee a\n`#", max_size=30), st.sampled_from(["postgres", "mysql"]))
def test_any_text_is_taken_apart_without_loss(text: str, dialect: str) -> None:
    statements = lexical.split(text, dialect)
    for statement in statements:
        assert text[statement.start : statement.start + len(statement.text)] == statement.text
        assert statement.tokens
        for token in statement.tokens:
            assert text[token.start : token.start + len(token.text)] == token.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CREATE PROCEDURE p()", False),
        ("CREATE PROCEDURE p();", True),
        ("CREATE PROCEDURE IF NOT EXISTS p()", False),
        (
            "CREATE OR REPLACE DEFINER=`a`@`b` FUNCTION f(x int) RETURNS int DETERMINISTIC READS SQL DATA",
            False,
        ),
        ("CREATE FUNCTION f(x int) RETURNS int DETERMINISTIC RETURN x", True),
        ("CREATE PROCEDURE p()\nBEGIN\nSELECT 1;", False),
        ("CREATE PROCEDURE p()\nBEGIN\nSELECT 1;\nEND", True),
        ("CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW", False),
        ("CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET NEW.a = 1", True),
        ("CREATE EVENT e ON SCHEDULE EVERY 1 DAY", False),
        ("CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM x", True),
        ("CREATE TABLE event (function int, `trigger` int)", True),
        ("CREATE USER procedure_user", True),
        ("DROP PROCEDURE p", True),
        ("SHOW CREATE PROCEDURE p", True),
    ],
)
def test_a_routine_of_mysqls_goes_on_until_its_body_is_there(text: str, expected: bool) -> None:
    assert lexical.is_complete(text, "mysql") is expected
