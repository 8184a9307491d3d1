"""Completion inside SQL: by context, with the tables in scope, and fast."""

from __future__ import annotations

import time

import pytest

from dbtool.console.names_index import NamesIndex, quoted_name
from dbtool.console.sql_completer import suggest
from dbtool.engines.session import Names, Relation

NAMES = Names(
    schemas=("audit", "public"),
    relations=(
        Relation("public", "users", "table", (("id", "bigint"), ("email", "text"), ("is_active", "boolean"))),
        Relation(
            "public", "orders", "table", (("id", "bigint"), ("user_id", "bigint"), ("total", "numeric"))
        ),
        Relation("public", "active_users", "view", (("id", "bigint"),)),
        Relation("public", 'Weird "name', "table", (("Big Column", "text"), ("select", "text"))),
        Relation(
            "audit", "log_entries", "table", (("at", "timestamptz"), ("message", "text")), visible=False
        ),
    ),
    functions=(("pg_catalog", "count"), ("pg_catalog", "lower"), ("audit", "count_entries")),
    types=("integer", "interval"),
    databases=("mydb", "shop"),
    roles=("alice", "bob"),
    keywords=("SELECT", "SELF_MADE"),
)


def offered(text: str, names: Names = NAMES) -> list[str]:
    """What is offered at the place of the bar."""
    cursor = text.index("|")
    start, found = suggest(text.replace("|", "", 1), cursor, NamesIndex(names))
    assert start <= cursor
    return [suggestion.text for suggestion in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT * FROM us|", ["users", "active_users"]),
        ("SELECT * FROM audit.|", ["log_entries"]),
        ("SELECT * FROM audit.log_entries WHERE me|", ["message"]),
        ("SELECT * FROM log|", ["audit.log_entries"]),
        ("SELECT u.| FROM users u", ["id", "email", "is_active"]),
        ("SELECT u.e| FROM users AS u", ["email"]),
        ("SELECT act| FROM users", ["is_active", "active_users"]),
        ("SELECT * FROM users u JOIN orders o ON o.us|", ["user_id"]),
        ("SELECT * FROM users, orders o WHERE o.t|", ["total"]),
        (
            "WITH recent AS (SELECT id, total AS amount FROM orders) SELECT r.| FROM recent r",
            ["id", "amount"],
        ),
        ("WITH r (a, b) AS (SELECT 1, 2) SELECT r.| FROM r", ["a", "b"]),
        ("WITH r AS (SELECT * FROM users) SELECT r.em| FROM r", ["email"]),
        ("WITH r AS (SELECT 1) SELECT * FROM r|", ["r"]),
        ("WITH d AS (DELETE FROM orders RETURNING id, total) SELECT d.| FROM d", ["id", "total"]),
        ("SELECT s.| FROM (SELECT count(*) AS n, email FROM users GROUP BY 2) s", ["n", "email"]),
        ("SELECT * FROM users WHERE id IN (SELECT o.| FROM orders o)", ["id", "user_id", "total"]),
        ("SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.em|)", ["email"]),
        ("INSERT INTO orders (|", ["id", "user_id", "total"]),
        ("INSERT INTO orders (id, us|", ["user_id"]),
        ("INSERT INTO audit.log_entries (|", ["at", "message"]),
        ("UPDATE users SET em|", ["email"]),
        ("DELETE FROM users WHERE em|", ["email"]),
        ("SELECT id::in|", ["integer", "interval"]),
        ("SELECT CAST(id AS int|", ["integer", "interval"]),
        ("SELECT id FROM users UNION SELECT to| FROM orders", ["total"]),
        ("ALTER TABLE us|", ["users", "active_users"]),
        ("DROP DATABASE s|", ["shop"]),
        ("GRANT SELECT ON users TO b|", ["bob"]),
        ("CREATE INDEX ON use|", ["users", "active_users"]),
        ("SELECT audit.cou|", ["count_entries("]),
        ('SELECT * FROM "We|', ['"Weird ""name"']),
        ('SELECT x.| FROM "Weird ""name" x', ['"Big Column"', '"select"']),
        ("SELECT 1; SELECT * FROM users WHERE em|", ["email"]),
        ("SEL|", ["SELECT"]),
        ("sel|", ["select"]),
        ("SELECT 'em|", []),
        ("SELECT 1 -- em|", []),
        ("SELECT /* em|", []),
        ("SELECT $$ em|", []),
        ("SELECT 12|", []),
        ("SELECT * FROM nowhere n WHERE n.|", []),
    ],
)
def test_what_is_offered(text: str, expected: list[str]) -> None:
    assert offered(text) == expected


def test_columns_of_the_statement_come_before_words_and_functions() -> None:
    found = offered("SELECT i| FROM users")
    assert found[:2] == ["id", "is_active"]
    assert "in" in found


def test_columns_are_offered_before_the_tables_are_named() -> None:
    assert "email" in offered("SELECT em|")


def test_functions_and_keywords() -> None:
    assert {"count(", "audit.count_entries("} <= set(offered("SELECT cou|"))
    assert offered("SELECT * FROM users wh|")[0] == "where"
    assert "self_made" in offered("SELECT self|")


def test_the_meta_text_says_what_it_is() -> None:
    _, found = suggest("SELECT em FROM users", 9, NamesIndex(NAMES))
    assert (found[0].text, found[0].kind, found[0].meta) == ("email", "column", "text  users")


MYSQL_NAMES = Names(
    schemas=("shop", "Other", "mysql"),
    relations=(
        Relation("shop", "Users", "table", (("id", "bigint"), ("Email", "varchar(40)"), ("key", "int"))),
        Relation("shop", "order items", "table", (("id", "int"),)),
        Relation("Other", "log_entries", "table", (("at", "datetime"),), visible=False),
        Relation("mysql", "user", "table", (("User", "char(128)"),), visible=False),
    ),
    functions=(("shop", "total_of"), ("Other", "total_of_it"), ("", "concat")),
    types=("int", "varchar"),
    databases=("shop", "Other", "mysql"),
    keywords=("SELECT", "STRAIGHT_JOIN"),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT * FROM us|", ["Users", "mysql.user"]),
        ("SELECT * FROM ord|", ["`order items`"]),
        ("SELECT * FROM `ord|", ["`order items`"]),
        ("SELECT * FROM log|", ["Other.log_entries"]),
        ("SELECT * FROM Other.|", ["log_entries"]),
        ("SELECT u.| FROM Users u", ["id", "Email", "`key`"]),
        ("SELECT u.| FROM users AS u", ["id", "Email", "`key`"]),
        ("SELECT `order items`.| FROM `order items`", ["id"]),
        ("SELECT * FROM Users WHERE `Ema|", ["Email"]),
        ("INSERT INTO `order items` (|", ["id"]),
        ("USE ot|", ["Other"]),
        ("SELECT tot|", ["total_of(", "Other.total_of_it("]),
        ("SELECT conc|", ["concat("]),
        ("DESCRIBE us|", ["Users", "mysql.user"]),
        ("repl|", ["replace into"]),
        ("SELECT 1 # us|", []),
        ('SELECT "us|', []),
        ("WITH Recent AS (SELECT id FROM Users) SELECT * FROM Rec|", ["Recent"]),
    ],
)
def test_mysql_has_its_own_names_and_quotes(text: str, expected: list[str]) -> None:
    cursor = text.index("|")
    _, found = suggest(text.replace("|", "", 1), cursor, NamesIndex(MYSQL_NAMES, "mysql"))
    assert [suggestion.text for suggestion in found] == expected


@pytest.mark.parametrize(
    ("name", "written"),
    [("Plain_1", "Plain_1"), ("select", "`select`"), ("a`b", "`a``b`"), ("ü", "`ü`"), ("Rank", "`Rank`")],
)
def test_mysql_names_are_quoted_with_back_ticks(name: str, written: str) -> None:
    assert quoted_name(name, "mysql") == written


@pytest.mark.parametrize(
    ("name", "written"),
    [("plain_1", "plain_1"), ("Big", '"Big"'), ("select", '"select"'), ('a"b', '"a""b"'), ("ü", '"ü"')],
)
def test_names_are_quoted_where_sql_wants_it(name: str, written: str) -> None:
    assert quoted_name(name) == written


def test_five_thousand_tables_answer_within_fifty_milliseconds() -> None:
    relations = tuple(
        Relation(
            f"schema_{number % 20}",
            f"customer_{number:05}_order",
            "table",
            tuple((f"column_{column}", "text") for column in range(20)),
        )
        for number in range(5000)
    )
    index = NamesIndex(Names(schemas=tuple(f"schema_{n}" for n in range(20)), relations=relations))
    for text in (
        "SELECT * FROM |",
        "SELECT * FROM c|",
        "SELECT * FROM order|",
        "SELECT * FROM schema_7.cust|",
        "SELECT col|",
        "SELECT a.c| FROM customer_00007_order a JOIN customer_00008_order b ON a.column_1 = b.column_2",
        "SELECT | FROM customer_00007_order, customer_00008_order, customer_00009_order",
        "SELECT x" + ", x" * 300 + " FROM customer_00007_order WHERE col|",
    ):
        cursor = text.index("|")
        took = []
        for _ in range(3):
            began = time.perf_counter()
            _, found = suggest(text.replace("|", ""), cursor, index)
            took.append(time.perf_counter() - began)
        assert found
        assert min(took) < 0.05, text[:60]
