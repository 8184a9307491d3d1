"""Views, triggers, routines and events that tools have lost, put in a wrong order, or let loose."""

from __future__ import annotations

from collections.abc import Iterator

from tests.fidelity.mysql_awkward_values import Dialect

GHOST = "'dbtool ghost'@'nowhere.example'"  # an account that is not there
PLAIN = ("SET sql_mode = ''", "SET NAMES utf8mb4")  # the session as the statements expect it


def code_statements(dialect: Dialect, *, gentle: bool = False) -> Iterator[str]:
    """The database's own code, made in an order in which names alone would not put it.

    `gentle` leaves out what the servers' own tools fail on: definers that are not there any more, and
    two semicolons in an event, for which mariadb-dump seeks a delimiter without end.
    """
    ghost = "" if gentle else f"DEFINER={GHOST} "
    if ghost:  # a view on another account's view cannot be made once that account is gone
        yield from (f"CREATE USER {GHOST}", f"GRANT ALL ON *.* TO {GHOST}")
    yield "CREATE TABLE journal (id int AUTO_INCREMENT PRIMARY KEY, what varchar(300) CHARACTER SET utf8mb4)"
    yield "CREATE TABLE watched (id int AUTO_INCREMENT PRIMARY KEY, v varchar(60) CHARACTER SET utf8mb4, n int)"
    yield "INSERT INTO watched (v, n) VALUES ('before any trigger', 1), (NULL, NULL)"
    yield from _routines(dialect, ghost)
    yield from _views(dialect, ghost)
    yield from _triggers(ghost)
    events = _events(dialect, ghost)
    yield from (event.replace("';;'", "';'") for event in events) if gentle else events
    if ghost:
        yield f"DROP USER {GHOST}"


def _routines(dialect: Dialect, ghost: str) -> Iterator[str]:
    yield """CREATE FUNCTION f_twice(n int) RETURNS int DETERMINISTIC NO SQL COMMENT 'it''s "twice" \\\\ \n ü' RETURN n * 2"""
    yield f"""CREATE {ghost}FUNCTION `f odd ``name```(`a``b` varchar(20) CHARACTER SET latin1)
        RETURNS varchar(99) CHARACTER SET utf8mb4 DETERMINISTIC SQL SECURITY INVOKER BEGIN RETURN concat('名', `a``b`); END"""
    # A body full of what clients cut statements at, or take for a comment.
    yield """CREATE PROCEDURE p_text(IN a int, OUT b varchar(100), INOUT c decimal(10,2))
        MODIFIES SQL DATA
        BEGIN
          -- a comment; with a semicolon and an odd ' quote
          # another; "
          /* one more ;; $$ // ` */
          DECLARE t varchar(100) DEFAULT ';;';
          SET b = concat('DELIMITER //', "\\n\\\\ '' ", t, '--', /*!40101 'gated', */ '$$', `a`);
          label: LOOP
            SET c = c + 1;
            IF c > 10 THEN LEAVE label; END IF;
          END LOOP;

          INSERT INTO journal (what) VALUES (b), ('\U0001f600');
        END"""
    yield "CREATE PROCEDURE `-rf`() SELECT 1"
    yield "CREATE PROCEDURE `new\nline; --x`() SELECT 2"
    yield "CREATE FUNCTION case_of() RETURNS int DETERMINISTIC RETURN 1"  # a function and a procedure of one name
    yield "CREATE PROCEDURE case_of() SELECT case_of()"
    yield "SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE'"
    yield """CREATE FUNCTION "f_modes"("n" varchar(10) CHARACTER SET latin1) RETURNS varchar(60)
        CHARACTER SET latin1 DETERMINISTIC RETURN "n" || 'back\\' || NOT 1 BETWEEN -5 AND 5"""
    yield (
        "SET sql_mode = 'TRADITIONAL,PAD_CHAR_TO_FULL_LENGTH'"
        if not dialect.mariadb
        else "SET sql_mode = 'TRADITIONAL'"
    )
    yield "CREATE PROCEDURE p_strict() INSERT INTO journal (what) VALUES ('strict')"
    yield "SET sql_mode = ''"
    yield "SET NAMES latin1 COLLATE latin1_german2_ci"
    yield "CREATE FUNCTION f_latin1(v varchar(10)) RETURNS varchar(30) DETERMINISTIC RETURN concat(v, 'plain')"
    yield PLAIN[1]
    if dialect.mariadb:
        yield """CREATE AGGREGATE FUNCTION f_longest(v varchar(50)) RETURNS varchar(50) DETERMINISTIC BEGIN
            DECLARE best varchar(50) DEFAULT '';
            DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN best;
            LOOP FETCH GROUP NEXT ROW; IF length(v) > length(best) THEN SET best = v; END IF; END LOOP;
            END"""
        yield "SET sql_mode = 'ORACLE'"
        yield """CREATE PACKAGE pack COMMENT 'spec' AS
              FUNCTION one RETURN int; -- in the spec
              PROCEDURE two(a IN int, b OUT varchar2);
            END"""
        yield """CREATE PACKAGE BODY pack AS
              counter int := 0;
              FUNCTION one RETURN int AS BEGIN RETURN counter || ''; END;
              PROCEDURE two(a IN int, b OUT varchar2) AS BEGIN b := 'x' || a; END;
            BEGIN counter := 5; END"""
        yield "CREATE PROCEDURE p_oracle(a IN OUT varchar2) AS BEGIN a := a || 'x'; END"
        yield "SET sql_mode = ''"


def _views(dialect: Dialect, ghost: str) -> Iterator[str]:
    yield "CREATE VIEW z_base AS SELECT id, v, n FROM watched WHERE n > 0 OR n IS NULL"
    yield """CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW m_middle AS SELECT id AS `o``dd`, v FROM z_base
        WITH CASCADED CHECK OPTION"""
    yield """CREATE ALGORITHM=TEMPTABLE VIEW a_top (`first col`, `二`) AS
        SELECT max(`o``dd`), 'it''s \\\\' FROM m_middle GROUP BY v"""
    yield "CREATE VIEW `b view``s` AS SELECT a.*, z.n FROM a_top a LEFT JOIN z_base z ON z.id = a.`first col`"
    yield "CREATE VIEW calls_functions AS SELECT f_twice(n) AS twice, case_of() AS one FROM watched"
    yield f"CREATE {ghost}SQL SECURITY DEFINER VIEW c_ghost AS SELECT 1 AS one, '\U0001f600' AS smile"
    yield f"CREATE {ghost}SQL SECURITY INVOKER VIEW d_on_ghost AS SELECT one FROM c_ghost"
    yield """CREATE VIEW with_subqueries AS WITH w AS (SELECT 1 AS x UNION ALL SELECT 2)
        SELECT x, (SELECT max(n) FROM watched) AS m FROM w ORDER BY x LIMIT 1"""
    yield "CREATE VIEW of_odd_table AS SELECT * FROM `a``b`"
    yield """CREATE VIEW no_table AS SELECT convert('é' USING latin1) COLLATE latin1_german2_ci AS c,
        now(6) > '2000-01-01' AS b, 1.50 AS d, NULL AS nothing"""
    yield "SET sql_mode = 'ANSI'"
    yield """CREATE VIEW "ansi view" AS SELECT "id" || 'x' AS "q" FROM "watched" """
    yield PLAIN[0]
    yield "SET NAMES latin1"
    yield "CREATE VIEW made_in_latin1 AS SELECT 'plain' AS a, v FROM watched WHERE v <> 'x'"
    yield PLAIN[1]
    if dialect.mariadb:
        yield "CREATE VIEW of_history AS SELECT id, v FROM versioned FOR SYSTEM_TIME ALL"


def _triggers(ghost: str) -> Iterator[str]:
    yield """CREATE TRIGGER z_first BEFORE INSERT ON watched FOR EACH ROW BEGIN
        SET NEW.v = concat('changed by a trigger; ', NEW.v); -- a comment
        INSERT INTO journal (what) VALUES ('first'); END"""
    yield "CREATE TRIGGER m_third BEFORE INSERT ON watched FOR EACH ROW INSERT INTO journal (what) VALUES ('third')"
    yield """CREATE TRIGGER a_second BEFORE INSERT ON watched FOR EACH ROW PRECEDES m_third
        INSERT INTO journal (what) VALUES ('second')"""
    yield "CREATE TRIGGER `b after ``third``` BEFORE INSERT ON watched FOR EACH ROW FOLLOWS m_third SET @x = ';;'"
    yield f"CREATE {ghost}TRIGGER of_ghost AFTER DELETE ON watched FOR EACH ROW INSERT INTO journal (what) VALUES (OLD.v)"
    yield "CREATE TRIGGER on_odd AFTER UPDATE ON `a``b` FOR EACH ROW SET @n = @n + 1"
    yield "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'"
    yield """CREATE TRIGGER "ansi ""quo""ted" BEFORE UPDATE ON "watched" FOR EACH ROW SET NEW."v" = 'a\\' || "NEW"."v" """
    yield PLAIN[0]
    yield "SET NAMES latin1"
    yield "CREATE TRIGGER in_latin1 AFTER INSERT ON watched FOR EACH ROW SET @x = 'plain'"
    yield PLAIN[1]


def _events(dialect: Dialect, ghost: str) -> Iterator[str]:
    # Where the scheduler runs and the event is enabled, this one writes within a second.
    yield """CREATE EVENT e_enabled ON SCHEDULE EVERY 1 SECOND STARTS '2020-01-01 00:00:00' ENABLE
        DO INSERT INTO journal (what) VALUES ('event')"""
    yield "SET time_zone = '+05:30'"
    yield """CREATE EVENT `e ``odd``` ON SCHEDULE EVERY '1:30' HOUR_MINUTE
        STARTS '2035-01-01 10:00:00' ENDS '2036-01-01 00:00:00' ON COMPLETION PRESERVE ENABLE COMMENT 'it''s \\\\ ü' DO BEGIN
          -- a comment;
          INSERT INTO journal (what) VALUES (';;'); DELETE FROM journal WHERE 0; END"""
    yield "SET time_zone = '+00:00'"
    yield "CREATE EVENT e_once ON SCHEDULE AT '2035-06-01 12:00:00' ON COMPLETION PRESERVE DO SET @x = 1"
    yield "CREATE EVENT e_off ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DISABLE DO SET @x = 1"
    replica = "SLAVE" if dialect.mariadb else "REPLICA"
    yield f"CREATE EVENT e_replica ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DISABLE ON {replica} DO SET @x = 1"
    yield f"CREATE {ghost}EVENT e_ghost ON SCHEDULE EVERY 1 MONTH STARTS '2030-01-31 00:00:00' DO SET @x = 1"
    yield "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"
    yield """CREATE EVENT "e_ansi" ON SCHEDULE EVERY 1 YEAR STARTS '2030-01-01 00:00:00'
        DO INSERT INTO "journal" ("what") VALUES ('a\\')"""
    yield PLAIN[0]
