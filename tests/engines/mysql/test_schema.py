"""Definitions taken apart, and SQL put together: by their text alone."""

# Definitions are read more easily in one line.
# ruff: noqa: E501

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtool.engines.mysql import after, code, schema, server_faults
from dbtool.engines.mysql.flavour import flavour_from
from dbtool.engines.mysql.globals import _without_default_role, without_password
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.engines.mysql.rights import Grant, Rights, grants_in
from dbtool.errors import DbtoolError

MARIADB = schema.Names("shop", {"b": "utf8mb4_general_ci", "c": "latin1_bin"}, "latin1_swedish_ci", True)
MYSQL = schema.Names("shop", {"b": "utf8mb4_0900_ai_ci", "c": "latin1_bin"}, "latin1_swedish_ci", False)

TABLE = """CREATE TABLE `t` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `b` varchar(10) CHARACTER SET utf8mb4 DEFAULT 'a,(b)' COMMENT 'KEY `x` (`y`),',
  `c` enum('x,''y','(') CHARACTER SET latin1 COLLATE latin1_bin DEFAULT NULL,
  `d` int(11) GENERATED ALWAYS AS (`id` + 1) VIRTUAL,
  `e` int(11) DEFAULT nextval(`shop`.`s`),
  PRIMARY KEY (`id`),
  UNIQUE KEY `u` (`b`(3),`c`),
  KEY `k` (`c`) COMMENT 'a, b',
  FULLTEXT KEY `f` (`b`) /*!50100 WITH PARSER `ngram` */ ,
  SPATIAL KEY `g` (`d`),
  CONSTRAINT `fk` FOREIGN KEY (`d`) REFERENCES `p` (`id`) ON DELETE CASCADE,
  CONSTRAINT `other` FOREIGN KEY (`d`) REFERENCES `elsewhere`.`p` (`id`),
  CONSTRAINT `chk` CHECK (`d` > 0 and `b` <> 'x,y')
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COMMENT='it''s'
/*!50100 PARTITION BY HASH (`id`)
PARTITIONS 3 */"""


def test_a_table_is_taken_apart() -> None:
    found = schema.take_apart(TABLE, MARIADB, keeps_keys=False)
    assert found.create == (
        "CREATE TABLE `t` (\n"
        "  `id` int(11) NOT NULL AUTO_INCREMENT,\n"
        "  `b` varchar(10) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci DEFAULT 'a,(b)' COMMENT 'KEY `x` (`y`),',\n"
        "  `c` enum('x,''y','(') CHARACTER SET latin1 COLLATE latin1_bin DEFAULT NULL,\n"
        "  `d` int(11) GENERATED ALWAYS AS (`id` + 1) VIRTUAL,\n"
        "  `e` int(11) DEFAULT nextval(`s`),\n"
        "  PRIMARY KEY (`id`),\n"
        "  CONSTRAINT `chk` CHECK (`d` > 0 and `b` <> 'x,y')\n"
        ") ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci COMMENT='it''s'\n"
        "/*!50100 PARTITION BY HASH (`id`)\nPARTITIONS 3 */"
    )
    assert found.keys == ("PRIMARY", "u", "k", "f", "g")
    assert found.indexes == ("UNIQUE KEY `u` (`b`(3),`c`)", "KEY `k` (`c`) COMMENT 'a, b'")
    assert found.indexes_apart == (
        "FULLTEXT KEY `f` (`b`) /*!50100 WITH PARSER `ngram` */",
        "SPATIAL KEY `g` (`d`)",
    )
    assert [(key.name, key.parent) for key in found.foreign_keys] == [("fk", "p"), ("other", None)]
    assert (
        found.foreign_keys[0].clause
        == "CONSTRAINT `fk` FOREIGN KEY (`d`) REFERENCES `p` (`id`) ON DELETE CASCADE"
    )


def test_all_keys_stay_where_they_must() -> None:
    found = schema.take_apart(TABLE, MARIADB, keeps_keys=True)
    assert "KEY `k`" in found.create
    assert "FULLTEXT KEY" in found.create
    assert found.indexes == found.indexes_apart == ()
    assert len(found.foreign_keys) == 2


def test_mysql_remembers_a_collation_that_was_said() -> None:
    found = schema.take_apart(TABLE, MYSQL, keeps_keys=False)
    assert "CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci" in found.create
    assert "DEFAULT CHARSET=latin1 COMMENT" in found.create


@pytest.mark.parametrize(
    ("keys", "kept"),
    [
        ("PRIMARY KEY (`a`), KEY `k` (`b`)", ["PRIMARY"]),
        ("UNIQUE KEY `n` (`c`), UNIQUE KEY `u` (`a`,`b`), KEY `k` (`b`)", ["n", "u"]),
        ("UNIQUE KEY `p` (`a`(3)), KEY `k` (`b`)", []),
        ("KEY `k` (`b`)", []),
    ],
)
def test_keys_that_rows_need(keys: str, kept: list[str]) -> None:
    text = (
        f"CREATE TABLE `t` (`a` char(9) NOT NULL,`b` int NOT NULL,`c` int DEFAULT NULL,{keys}) ENGINE=InnoDB"
    )
    found = schema.take_apart(text, MARIADB, keeps_keys=False)
    assert [
        name for name in found.keys if f"`{name}`" in found.create or name + " KEY" in found.create
    ] == kept


@pytest.mark.parametrize(
    ("keys", "kept"),
    [
        ("PRIMARY KEY (`a`),KEY `x` (`b`),KEY `c` (`n`,`b`),KEY `y` (`b`)", ["PRIMARY", "x", "c"]),
        ("PRIMARY KEY (`a`,`n`),KEY `x` (`b`)", ["PRIMARY"]),
        ("KEY `x` (`b`),UNIQUE KEY `c` (`n`)", ["x", "c"]),
    ],
)
def test_the_counter_needs_its_key(keys: str, kept: list[str]) -> None:
    text = f"CREATE TABLE `t` (`a` int NOT NULL,`b` int,`n` int NOT NULL AUTO_INCREMENT,{keys}) ENGINE=InnoDB"
    found = schema.take_apart(text, MARIADB, keeps_keys=False)
    assert len(found.indexes) == len(found.keys) - len(kept)
    assert list(found.keys[: len(kept)]) == kept


def test_a_default_that_is_no_text() -> None:
    text = b"CREATE TABLE `t` (`b` binary(3) DEFAULT '\xff\\0''\\'\xfe',`c` int) ENGINE=InnoDB"
    found = schema.take_apart(text.decode("utf-8", "surrogateescape"), MARIADB, keeps_keys=False)
    assert "`b` binary(3) DEFAULT x'ff002727fe'" in found.create


@pytest.mark.parametrize("text", ["CREATE VIEW v AS SELECT 1", "CREATE TABLE `t` (`a` int", "SELECT (1)"])
def test_what_is_no_table(text: str) -> None:
    with pytest.raises(DbtoolError):
        schema.take_apart(text, MARIADB, keeps_keys=False)


LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0\\")
NAMES = st.text(LETTERS | st.just("\\"), min_size=1, max_size=20)


@given(NAMES, NAMES, NAMES, st.text(LETTERS, max_size=20))
def test_any_names(table: str, column: str, key: str, comment: str) -> None:
    said = comment.replace("'", "''")
    text = (
        f"CREATE TABLE {quote_identifier(table)} (\n  {quote_identifier(column)} int DEFAULT NULL COMMENT '{said}',\n"
        f"  KEY {quote_identifier(key)} ({quote_identifier(column)})\n) ENGINE=InnoDB"
    )
    found = schema.take_apart(text, MARIADB, keeps_keys=False)
    assert found.keys == (key,)
    assert found.indexes == (f"KEY {quote_identifier(key)} ({quote_identifier(column)})",)
    assert f"COMMENT '{said}'" in found.create


# ---- views -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected", "reads", "calls"),
    [
        (
            "CREATE VIEW `v` AS select `shop`.`t`.`a` AS `a`,`shop`.`f`(`u`.`x`) AS `b` from (`shop`.`t` join `mysql`.`user` `u`)",
            "CREATE VIEW `v` AS select `t`.`a` AS `a`,`f`(`u`.`x`) AS `b` from (`t` join `mysql`.`user` `u`)",
            {"t"},
            {"f"},
        ),
        (
            "CREATE VIEW `v` AS select `shop`.`id` AS `id` from `shop`.`orders` `shop`",
            "CREATE VIEW `v` AS select `shop`.`id` AS `id` from `orders` `shop`",
            {"orders"},
            set(),
        ),
        (
            "CREATE VIEW `v` AS select `shop`.`shop`.`id` AS `shop` from `shop`.`shop` where `shop`.`shop`.`id` = 'shop'",
            "CREATE VIEW `v` AS select `shop`.`id` AS `shop` from `shop` where `shop`.`id` = 'shop'",
            {"shop"},
            set(),
        ),
        (
            "CREATE VIEW `v` AS select 1 from ((`a` left join `b` `x` on(`a`.`i` = `x`.`i`)) join (select 2 AS `c` from `d`) `e`)",
            "CREATE VIEW `v` AS select 1 from ((`a` left join `b` `x` on(`a`.`i` = `x`.`i`)) join (select 2 AS `c` from `d`) `e`)",
            {"a", "b", "d"},
            set(),
        ),
    ],
)
def test_a_view_without_the_database(text: str, expected: str, reads: set[str], calls: set[str]) -> None:
    assert schema.view_without_database(text, "shop") == (expected, reads, calls)


# ---- code ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "CREATE DEFINER=`a`@`b` trigger shop.tr before insert on shop.t for each row set @x = shop.y",
            "CREATE DEFINER=`a`@`b` trigger tr before insert on t for each row set @x = shop.y",
        ),
        (
            'CREATE DEFINER="shop"@"%" TRIGGER "shop"."tr" AFTER UPDATE ON "shop"."shop" FOR EACH ROW BEGIN END',
            'CREATE DEFINER="shop"@"%" TRIGGER "tr" AFTER UPDATE ON "shop" FOR EACH ROW BEGIN END',
        ),
        (
            "CREATE TRIGGER `tr` BEFORE INSERT ON `t` FOR EACH ROW SET @x = 1",
            "CREATE TRIGGER `tr` BEFORE INSERT ON `t` FOR EACH ROW SET @x = 1",
        ),
    ],
)
def test_a_trigger_without_the_database(text: str, expected: str) -> None:
    assert code.trigger_without_database(text, "shop") == expected


def test_an_event_is_made_disabled_and_enabled_later() -> None:
    text = "CREATE DEFINER=`r`@`%` EVENT `e``v` ON SCHEDULE EVERY 1 DAY STARTS '2020-01-01 00:00:00' ON COMPLETION NOT PRESERVE ENABLE DO SET @a = 'ENABLE'"
    disabled, enable = code.disabled_event(text)
    assert disabled == text.replace("PRESERVE ENABLE", "PRESERVE DISABLE")
    assert enable == "ALTER DEFINER=`r`@`%` EVENT `e``v` ENABLE"
    other = text.replace("PRESERVE ENABLE", "PRESERVE DISABLE ON SLAVE")
    assert code.disabled_event(other) == (other, None)


@pytest.mark.parametrize(
    "body",
    [
        "SELECT 1;",
        "BEGIN SELECT ';;'; END",
        "BEGIN /* ;;; */ END -- x",
        "SELECT 1\n;;\nDELIMITER ;\n",
        "x\r\ny",
    ],
)
def test_statements_of_what_is_delimited(body: str) -> None:
    item = code.CodeObject("PROCEDURE", "p", f"CREATE PROCEDURE p() {body}", sql_mode="ANSI")
    statements = after.statements_of(item.sql("latin1_bin"))
    assert statements[2] == item.text
    assert statements[0] == "SET SESSION sql_mode = 'ANSI'"
    assert len(statements) == 5


def test_what_a_routine_was_made_under() -> None:
    item = code.CodeObject(
        "EVENT", "e", "CREATE EVENT e …", "ANSI", "gbk", "gbk_bin", "utf8mb4_bin", time_zone="Europe/Paris"
    )
    assert after.statements_of(item.sql("latin1_bin")) == [
        "ALTER DATABASE COLLATE utf8mb4_bin",
        "SET SESSION sql_mode = 'ANSI', time_zone = 'Europe/Paris'",
        "SET character_set_client = gbk, collation_connection = gbk_bin",
        "CREATE EVENT e …",
        "SET NAMES utf8mb4",
        f"SET SESSION sql_mode = '{after.SQL_MODE}', time_zone = '+00:00'",
        "ALTER DATABASE COLLATE latin1_bin",
    ]


def test_a_letter_with_a_backslash_in_it() -> None:
    text = b"CREATE PROCEDURE p() SELECT '\xb3\x5c'".decode("utf-8", "surrogateescape")
    script = after.delimited(text, "big5")
    assert script.startswith("\\C big5\nDELIMITER ;;\n")
    assert script.endswith("DELIMITER ;\n\\C utf8mb4\n")
    assert after.statements_of(script) == [text]
    assert "\\C" not in after.delimited(text, "latin1")


@given(
    st.lists(
        st.sampled_from(["SELECT 1", "SET @a = ';'", "ALTER TABLE `x\nDELIMITER y\n` ADD b int"]), max_size=5
    )
)
def test_plain_statements(statements: list[str]) -> None:
    assert after.statements_of("".join(f"{text};\n" for text in statements)) == statements


def test_a_delimited_statement_without_an_end() -> None:
    with pytest.raises(ValueError, match="no end"):
        after.statements_of("DELIMITER ;;\nSELECT 1\n")


# ---- what servers write wrongly ----------------------------------------------------------------------


def test_back_ticks_in_names_of_foreign_keys() -> None:
    key = server_faults.ForeignKeyNames("fk `a`", ("x`y",), None, "p`q", ("i`d",))
    wrong = "CREATE TABLE `t` (\n  `x``y` int,\n  CONSTRAINT `fk `a`` FOREIGN KEY (`x``y`) REFERENCES `p``q` (`i`d`) ON DELETE CASCADE\n)"
    right = "CREATE TABLE `t` (\n  `x``y` int,\n  CONSTRAINT `fk ``a``` FOREIGN KEY (`x``y`) REFERENCES `p``q` (`i``d`) ON DELETE CASCADE\n)"
    assert server_faults.with_quoted_names(wrong, [key]) == right
    assert server_faults.with_quoted_names(right, [key]) == right


# ---- rights and users --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "GRANT SELECT, SHOW VIEW ON `a\\_b`.* TO `u`@`%`",
            Grant(frozenset({"SELECT", "SHOW VIEW"}), "a\\_b", "*"),
        ),
        (
            "GRANT ALL PRIVILEGES ON *.* TO `u`@`%` WITH GRANT OPTION",
            Grant(frozenset({"ALL PRIVILEGES"}), "*", "*"),
        ),
        ("GRANT BACKUP_ADMIN ON *.* TO `u`@`%`", Grant(frozenset({"BACKUP_ADMIN"}), "*", "*")),
        (
            "GRANT SELECT (`a`, `b`), INSERT ON `d`.`t` TO `u`@`%`",
            Grant(frozenset({"SELECT ( a , b )", "INSERT"}), "d", "t"),
        ),
    ],
)
def test_lines_of_show_grants(line: str, expected: Grant) -> None:
    (found,) = grants_in(line)
    assert (found.database, found.table) == (expected.database, expected.table)
    assert {text.replace("`", "") for text in found.privileges} == expected.privileges


@pytest.mark.parametrize(
    "line",
    [
        "GRANT `r`@`%` TO `u`@`%`",
        "GRANT PROXY ON ''@'' TO `u`@`%`",
        "GRANT EXECUTE ON FUNCTION `d`.`f` TO `u`@`%`",
    ],
)
def test_grants_of_nothing_that_counts(line: str) -> None:
    assert list(grants_in(line)) == []


def test_where_rights_hold() -> None:
    lines = [
        "GRANT SELECT ON `shop%`.* TO `u`@`%`",
        "GRANT TRIGGER ON `a\\_b`.* TO `u`@`%`",
        "GRANT EVENT ON `x`.`t` TO `u`@`%`",
    ]
    rights = Rights((grant for line in lines for grant in grants_in(line)), flavour_from("9.7.0", "MySQL"))
    assert rights.has("SELECT", "shop_1")
    assert not rights.has("SELECT", "other")
    assert not rights.has("SELECT")
    assert rights.has("TRIGGER", "a_b")
    assert not rights.has("TRIGGER", "axb")
    assert rights.has("EVENT", "x", "t")
    assert not rights.has("EVENT", "x")
    assert not rights.sees_routines("shop_1")


def test_a_grant_does_not_change_a_password() -> None:
    assert (
        without_password(
            "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*AB' REQUIRE SSL WITH GRANT OPTION"
        )
        == "GRANT USAGE ON *.* TO `u`@`%` REQUIRE SSL WITH GRANT OPTION"
    )
    assert (
        without_password("GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED VIA ed25519 USING 'x'")
        == "GRANT USAGE ON *.* TO `u`@`%`"
    )
    assert (
        without_password("GRANT SELECT ON `identified`.* TO `u`@`%`")
        == "GRANT SELECT ON `identified`.* TO `u`@`%`"
    )


def test_roles_are_made_default_when_they_are_there() -> None:
    text = "CREATE USER `u`@`%` IDENTIFIED WITH 'p' AS 0xAB DEFAULT ROLE `r`@`%`,`s`@`%` REQUIRE NONE PASSWORD EXPIRE DEFAULT"
    assert _without_default_role(text) == (
        "CREATE USER `u`@`%` IDENTIFIED WITH 'p' AS 0xAB REQUIRE NONE PASSWORD EXPIRE DEFAULT",
        "`r`@`%`,`s`@`%`",
    )
