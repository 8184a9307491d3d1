"""Statements of one flavour said to another, and definers left out."""

from __future__ import annotations

import pytest

from dbtool.engines.mysql.definers import Definers, without_definer
from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.foreign import Translation
from dbtool.errors import UsageError

OLD_MARIADB = Translation(
    Flavour("mariadb", "10.5.23", 100523),
    frozenset(
        {"utf8mb4_bin", "utf8mb4_general_ci", "utf8mb4_unicode_520_nopad_ci", "utf8_general_ci", "utf8_bin"}
    ),
)
MARIADB = Translation(
    Flavour("mariadb", "11.8.6", 110806), frozenset({"utf8mb4_bin", "utf8mb4_uca1400_nopad_ai_ci"})
)
MYSQL = Translation(
    Flavour("mysql", "9.7.4", 90704), frozenset({"utf8mb4_bin", "utf8mb4_0900_ai_ci", "latin1_bin"})
)


@pytest.mark.parametrize(
    ("translation", "before", "after"),
    [
        (
            MARIADB,
            "v varchar(9) COLLATE utf8mb4_0900_ai_ci",
            "v varchar(9) COLLATE utf8mb4_uca1400_nopad_ai_ci",
        ),
        (
            OLD_MARIADB,
            "CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci",
            "CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_nopad_ci",
        ),
        (OLD_MARIADB, "COLLATE=utf8mb3_general_ci", "COLLATE=utf8_general_ci"),
        (MYSQL, "COLLATE=utf8mb4_uca1400_ai_ci", "COLLATE=utf8mb4_0900_ai_ci"),
        (MYSQL, "COLLATE=latin1_bin", "COLLATE=latin1_bin"),
        # Not where it is a name, or text.
        (MYSQL, "`utf8mb4_uca1400_ai_ci` int", "`utf8mb4_uca1400_ai_ci` int"),
        (MYSQL, "COMMENT 'COLLATE utf8mb4_uca1400_ai_ci'", "COMMENT 'COLLATE utf8mb4_uca1400_ai_ci'"),
        (
            MYSQL,
            "SET collation_connection = utf8mb4_uca1400_ai_ci",
            "SET collation_connection = utf8mb4_0900_ai_ci",
        ),
        (
            MYSQL,
            "SET SESSION sql_mode = 'NO_AUTO_CREATE_USER,ANSI_QUOTES'",
            "SET SESSION sql_mode = 'ANSI_QUOTES'",
        ),
        (MARIADB, "SET sql_mode='ORACLE,ANSI'", "SET sql_mode='ORACLE,ANSI'"),
        (MARIADB, "SET sql_mode = 'TIME_TRUNCATE_FRACTIONAL'", "SET sql_mode = ''"),
    ],
)
def test_said_to_another_server(translation: Translation, before: str, after: str) -> None:
    assert translation.of([before]) == [after]


def test_a_person_is_told() -> None:
    translation = Translation(MYSQL.target, frozenset({"utf8mb4_0900_ai_ci"}))
    translation.of(["COLLATE utf8mb4_uca1400_ai_ci"])
    (note,) = translation.notes()
    assert "utf8mb4_uca1400_ai_ci" in note
    assert "utf8mb4_0900_ai_ci" in note


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "CREATE DEFINER=`a`@`%` PROCEDURE p() SELECT 'DEFINER=`x`@`y`'",
            "CREATE PROCEDURE p() SELECT 'DEFINER=`x`@`y`'",
        ),
        (
            "CREATE ALGORITHM=UNDEFINED DEFINER=`a``b`@`h` SQL SECURITY DEFINER VIEW `v` AS select 1",
            "CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER VIEW `v` AS select 1",
        ),
        (
            "CREATE DEFINER=`role` TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET @a=1",
            "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET @a=1",
        ),
        ("CREATE OR REPLACE DEFINER = 'a'@'b' VIEW v AS SELECT 1", "CREATE OR REPLACE VIEW v AS SELECT 1"),
        (
            "CREATE DEFINER=`a`@`%` EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
        ),
        ('CREATE DEFINER="a`b"@"h" PACKAGE "k" AS END', 'CREATE PACKAGE "k" AS END'),
        ("ALTER DEFINER=`a`@`%` EVENT e ENABLE", "ALTER EVENT e ENABLE"),
        (
            "/* x */ CREATE definer = a@b -- =\n FUNCTION f() RETURNS int RETURN 1",
            "/* x */ CREATE -- =\n FUNCTION f() RETURNS int RETURN 1",
        ),
        (
            "CREATE FUNCTION `definer`() RETURNS int RETURN 1",
            "CREATE FUNCTION `definer`() RETURNS int RETURN 1",
        ),
        ("CREATE SQL SECURITY DEFINER VIEW v AS SELECT 1", "CREATE SQL SECURITY DEFINER VIEW v AS SELECT 1"),
        ("CREATE PROCEDURE p() SELECT 1", "CREATE PROCEDURE p() SELECT 1"),
        ("SET @a = 'CREATE DEFINER=`a`@`%` VIEW'", "SET @a = 'CREATE DEFINER=`a`@`%` VIEW'"),
    ],
)
def test_without_definers(before: str, after: str) -> None:
    assert without_definer(before) == after


@pytest.mark.parametrize(
    ("pairs", "before", "after"),
    [
        (("a@h=b@i",), "DEFINER=`a`@`h`", "DEFINER=`b`@`i`"),
        (("a@H=b@i",), "DEFINER=`a`@`h`", "DEFINER=`b`@`i`"),
        (("A@h=b@i",), "DEFINER=`a`@`h`", "DEFINER=`a`@`h`"),
        (("*=b@i", "a@h=c@%"), "DEFINER=`a`@`h`", "DEFINER=`c`@`%`"),
        (("*=b@i", "a@h=c@%"), "DEFINER=`z`@`h`", "DEFINER=`b`@`i`"),
        (("a=b@i",), "DEFINER=`a`@`%`", "DEFINER=`b`@`i`"),
        (("role=b@i",), "DEFINER=`role`", "DEFINER=`b`@`i`"),
        (("`x@y=z`@`h`='it''s'@'%.example.org'",), "DEFINER=`x@y=z`@`h`", "DEFINER=`it's`@`%.example.org`"),
        (("a@h=new`b@i",), "", ""),
        (("a@h",), "", ""),
        (("a@h=b@i", "a@H=c@i"), "", ""),
        (("a@h=*",), "", ""),
        (("=b@i",), "", ""),
    ],
)
def test_definers_become_others(pairs: tuple[str, ...], before: str, after: str) -> None:
    if not after:
        with pytest.raises(UsageError, match="-definer"):
            Definers.parse(True, pairs)
        return
    for form in ("CREATE {} VIEW v AS SELECT 1", "ALTER {} EVENT e ENABLE"):
        assert Definers.parse(True, pairs).of(form.format(before)) == form.format(after)


def test_definers_are_mapped_or_left_out() -> None:
    with pytest.raises(UsageError, match="contradict"):
        Definers.parse(False, ("a@h=b@i",))
