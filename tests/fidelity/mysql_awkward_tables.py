"""Tables whose definitions tools have lost or put in a wrong order, with rows in them."""

# Definitions are read more easily in one line.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator

from tests.fidelity.mysql_awkward_values import Dialect, insert, text

LONG_NAME = "n" * 64
LONG_WIDE_NAME = "名" * 64
ODD_NAMES = (
    *(
        "select",
        "-rf",
        "--",
        "a/b",
        "a\\b",
        "a`b",
        "a'b",
        'a"b',
        "``",
        "a b",
        " a",
        "a;b",
        "a,b",
        "(a)",
        "a.b",
        "..",
        ".",
    ),
    *(
        "new\nline",
        "tab\there",
        "a\rb",
        "a\x1ab",
        "percent%s%d",
        "%",
        "#hash",
        "@at",
        "$dollar",
        "{brace}",
        "*/",
        "/*",
        "/*!1 */",
    ),
    *(
        "ünïcödé",
        "名前",
        "NULL",
        "123",
        "1e5",
        "0x41",
        "Case",
        "case",
        "table",
        "\\N",
        "\\",
        "'",
        "?",
        ":x",
        "~",
        "|",
        LONG_NAME,
    ),
)


def name(value: str) -> str:
    """An identifier."""
    return "`" + value.replace("`", "``") + "`"


def table_statements(dialect: Dialect) -> Iterator[str]:
    """The tables of odd definitions, filled. The sequences come before them, for defaults use these."""
    if dialect.mariadb:
        yield from _sequences()
    yield from _odd_names()
    yield from _keys(dialect)
    yield from _auto_increments()
    yield from _columns(dialect)
    yield from _constraints(dialect)
    yield from _foreign_keys(dialect)
    yield from _options(dialect)
    yield from _partitions(dialect)
    if dialect.mariadb:
        yield from _versioned(dialect)


def _sequences() -> Iterator[str]:
    yield "CREATE SEQUENCE seq_plain"
    yield "CREATE SEQUENCE `seq odd` START WITH 5 MINVALUE -10 MAXVALUE 100 INCREMENT BY 3 CACHE 7 CYCLE COMMENT 'it''s'"
    yield "CREATE SEQUENCE seq_down START WITH -1 INCREMENT BY -2 MINVALUE -9223372036854775806 MAXVALUE 0 NOCACHE"
    yield "CREATE SEQUENCE seq_never_used START WITH 77 NOCACHE"
    yield "DO NEXTVAL(seq_plain), NEXTVAL(seq_down), NEXTVAL(seq_down), SETVAL(`seq odd`, 50)"
    yield "CREATE TABLE from_sequence (id bigint NOT NULL DEFAULT (NEXT VALUE FOR seq_plain) PRIMARY KEY, v int)"
    yield "INSERT INTO from_sequence (v) VALUES (1), (2)"


def _odd_names() -> Iterator[str]:
    for number, odd in enumerate(ODD_NAMES):
        other = name(ODD_NAMES[(number + 1) % len(ODD_NAMES)][:62] + " 2")
        yield (
            f"CREATE TABLE {name(odd)} ({name(odd)} int, {other} varchar(64) DEFAULT {text(odd)} COMMENT {_quoted(odd)},"
            f" CONSTRAINT {name(odd[:60] + 'u')} UNIQUE KEY {name(odd[:60] + 'u')} ({name(odd)}), KEY {name(odd)} ({other}))"
            f" COMMENT {_quoted(odd)} DEFAULT CHARACTER SET utf8mb4"
        ).replace(f"DEFAULT {text(odd)}", f"DEFAULT {_quoted(odd)}")
        yield insert(name(odd), name(odd), [str(number), "NULL", "NULL"])
    yield f"CREATE TABLE wide_names ({name(LONG_WIDE_NAME)} int PRIMARY KEY, `Ä` int, `ß` int, KEY {name('鍵' * 64)} (`Ä`))"
    yield "INSERT INTO wide_names VALUES (1, 2, 3)"


def _quoted(value: str) -> str:
    """A string literal, for places that take no other kind of literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _keys(dialect: Dialect) -> Iterator[str]:
    yield """CREATE TABLE key_of_enum (a int NOT NULL, e enum('z', 'a') NOT NULL, v varchar(20), UNIQUE KEY (a, e))"""
    yield insert("key_of_enum", "a, e, v", [f"{n // 2}, {n % 2 + 1}, 'v{n}'" for n in range(3000)])
    yield "CREATE TABLE key_sparse (id bigint PRIMARY KEY, v int)"
    yield "INSERT INTO key_sparse VALUES (1, 1), (200000000000000000, 2), (-9223372036854775808, 3), (9223372036854775807, 4)"
    yield "CREATE TABLE key_unsigned (id bigint unsigned PRIMARY KEY, v int)"
    yield "INSERT INTO key_unsigned VALUES (0, 0), (9223372036854775808, 1), (18446744073709551615, 2)"
    yield """CREATE TABLE key_text (k varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v int)"""
    words = (
        "",
        "A",
        "b",
        "C",
        "é",
        "F",
        "ß",
        "ź",
        "\U0001f600",
        "名",
        "a b",
        "a'b",
        "a\\b",
        "a\nb",
        "%",
        "_",
        "zzz",
    )
    yield insert("key_text", "k, v", [f"{text(word)}, {n}" for n, word in enumerate(words)])
    yield """CREATE TABLE key_tuple (a varchar(10) CHARACTER SET latin1 COLLATE latin1_german2_ci, b datetime(3), c varbinary(8),
        v int, PRIMARY KEY (a, b, c))"""
    rows = [f"'a{n % 3}', '2024-01-01 00:00:{n % 5:02}.001', X'{n:04x}', {n}" for n in range(200)]
    yield insert("key_tuple", "a, b, c, v", rows)
    for kind, values in {
        "double": ("0.1", "0.30000000000000004", "1e300", "-1"),
        "float": ("0.1", "16777216", "1.234567"),
        "decimal(30,10)": ("0.1", "-5", "99999999999999999999.9999999999"),
        "timestamp(2) NOT NULL": ("'2024-10-27 00:30:00.01'", "'2024-10-27 01:30:00.01'"),
        "date": ("'0000-00-00'", "'2024-01-01'"),
        "time(1)": ("'-838:59:59'", "'00:00:00.1'"),
        "year": ("0", "2024"),
        "bit(9)": ("0", "b'101010101'"),
        "binary(3)": ("X'00'", "X'5C2700'", "X'FFFFFF'"),
        "set('b', 'a')": ("'b,a'", "''", "'a'"),
        "char(5) CHARACTER SET utf16": ("'a'", "'\\\\'", "''"),
    }.items():
        table = name("key_" + kind)
        yield f"CREATE TABLE {table} (k {kind} PRIMARY KEY, v int)"
        yield insert(table, "k, v", [f"{value}, {n}" for n, value in enumerate(values)])
    yield "CREATE TABLE key_none (a int, b varchar(10))"
    yield "INSERT INTO key_none VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL), (2, '')"
    yield "CREATE TABLE key_nullable (a int, b int NOT NULL, v int, UNIQUE (a), UNIQUE (b, a), KEY (v) COMMENT 'it''s \"v\"')"
    yield "INSERT INTO key_nullable VALUES (NULL, 1, 1), (NULL, 1, 2), (1, 1, 3)"
    yield """CREATE TABLE key_prefix (t text CHARACTER SET utf8mb4, b blob, v varchar(600) CHARACTER SET latin1, UNIQUE (t(10)), KEY (b(5)),
        UNIQUE KEY `v` (`v`(50)), FULLTEXT KEY ft (t), FULLTEXT KEY `f``t2` (t, w), w varchar(9)) CHARACTER SET utf8mb4"""
    yield "INSERT INTO key_prefix VALUES ('one two', X'0001', 'v', 'w'), ('three', NULL, NULL, NULL)"
    yield "CREATE TABLE fulltext_own (FTS_DOC_ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, t text, FULLTEXT (t))"
    yield "INSERT INTO fulltext_own (t) VALUES ('quick brown'), ('lazy dog')"
    yield "CREATE TABLE key_kinds (a int, b int, c int, KEY (a) USING BTREE, KEY bc (b, c), KEY cb (c, b), KEY again (b, c)) ENGINE=InnoDB"
    yield "INSERT INTO key_kinds VALUES (1, 2, 3)"
    if dialect.is_mysql(8, 0):
        yield """CREATE TABLE key_new (a int, b varchar(20), j json, KEY down (a DESC, b), KEY expression ((a + 1), (lower(b)) DESC),
            KEY hidden (b) INVISIBLE, KEY many ((CAST(j->'$.tags' AS unsigned ARRAY))))"""
        yield """INSERT INTO key_new VALUES (1, 'B', '{"tags": [1, 2]}'), (2, 'a', NULL)"""
        yield "CREATE TABLE ngrams (t text, FULLTEXT KEY (t) WITH PARSER ngram) CHARACTER SET utf8mb4"
        yield "INSERT INTO ngrams VALUES ('名前'), (NULL)"
    if dialect.is_mariadb(10, 6):
        yield "CREATE TABLE key_ignored (a int, b int, KEY hidden (a) IGNORED)"
    if dialect.is_mariadb(10, 8):
        yield "CREATE TABLE key_down (a int, b int, PRIMARY KEY (a DESC), KEY (b DESC, a))"
        yield "INSERT INTO key_down VALUES (1, 1), (2, NULL)"
    if dialect.mariadb:
        yield "CREATE TABLE key_of_blob (t text CHARACTER SET utf8mb4, v int, UNIQUE KEY whole (t) USING HASH)"
        yield "INSERT INTO key_of_blob VALUES ('x', 1), (NULL, 2), (NULL, 3)"


def _auto_increments() -> Iterator[str]:
    yield "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"
    yield "CREATE TABLE counter_zero (id int AUTO_INCREMENT PRIMARY KEY, v varchar(10))"
    yield "INSERT INTO counter_zero VALUES (0, 'zero'), (-5, 'minus'), (7, 'seven')"
    yield "SET sql_mode = ''"
    yield "CREATE TABLE counter_gap (id int AUTO_INCREMENT PRIMARY KEY, v int)"
    yield "INSERT INTO counter_gap (v) VALUES (1), (2), (3)"
    yield "DELETE FROM counter_gap WHERE id > 1"
    yield "CREATE TABLE counter_empty (id bigint unsigned AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT=12345"
    yield "CREATE TABLE counter_high (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, v int) AUTO_INCREMENT=18446744073709551000"
    yield "INSERT INTO counter_high (v) VALUES (1)"
    yield "CREATE TABLE counter_key (a int NOT NULL, id int NOT NULL AUTO_INCREMENT, v int, PRIMARY KEY (a), KEY late (v), KEY c (id, v))"
    yield "INSERT INTO counter_key (a, v) VALUES (5, 1), (4, 2)"
    yield "CREATE TABLE counter_no_primary (v int, n int NOT NULL AUTO_INCREMENT, UNIQUE KEY (n)) AUTO_INCREMENT=50"
    yield "INSERT INTO counter_no_primary (v) VALUES (1), (1)"


def _columns(dialect: Dialect) -> Iterator[str]:
    yield """CREATE TABLE computed (id int PRIMARY KEY, `a``b` int, v_sum int GENERATED ALWAYS AS (`a``b` + id) VIRTUAL COMMENT 'virtual',
        s_text varchar(40) CHARACTER SET latin1 GENERATED ALWAYS AS (concat('it''s \\\\ ', id)) STORED, later int DEFAULT 7,
        day date AS (CAST(moment AS date)) STORED, moment datetime, KEY (v_sum), UNIQUE (s_text))"""
    yield "INSERT INTO computed (id, `a``b`, moment) VALUES (1, 10, '2024-01-01 10:00:00'), (2, NULL, NULL)"
    if not dialect.mariadb:
        yield "CREATE TABLE key_generated (a int NOT NULL, k int AS (a * 2) STORED, PRIMARY KEY (k))"
        yield "INSERT INTO key_generated (a) VALUES (1), (2)"
    yield """CREATE TABLE defaults (id int PRIMARY KEY, a varchar(20) DEFAULT 'it''s \\\\ "q"' COMMENT 'c ''\\\\" \n*/ -- ;', b int DEFAULT NULL,
        c varchar(9) NOT NULL DEFAULT '', d datetime(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), e double DEFAULT (1e0 / 3),
        f varchar(99) DEFAULT (concat('x', 'y')), g bit(3) DEFAULT b'101', h blob DEFAULT ('b'), i decimal(5,2) DEFAULT -1.50,
        j text CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci DEFAULT ('\\\\'), n varchar(10) DEFAULT 'NULL', z date DEFAULT '0000-00-00')
        COMMENT 'table ''\\\\" \n*/ -- ; ü'"""
    yield "INSERT INTO defaults (id, d) VALUES (1, '2024-01-01 00:00:00.123')"
    yield "INSERT INTO defaults VALUES (2, NULL, 1, 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    if dialect.is_mysql(8, 0, 23) or dialect.mariadb:
        yield """CREATE TABLE invisible (a int PRIMARY KEY, hidden varchar(10) INVISIBLE DEFAULT 'h', g int AS (a + 1) STORED INVISIBLE,
            v int AS (a * 3) VIRTUAL INVISIBLE, z int)"""
        yield "INSERT INTO invisible (a, hidden, z) VALUES (1, 'one', 11), (2, NULL, 12)"
    if dialect.is_mysql(8, 0, 30):
        yield "SET sql_generate_invisible_primary_key = ON"
        yield "CREATE TABLE gipk (a int, b varchar(10), KEY (b))"
        yield "CREATE TABLE gipk_counter (a int) AUTO_INCREMENT=500"
        yield "SET sql_generate_invisible_primary_key = OFF"
        yield "INSERT INTO gipk VALUES (1, 'x'), (1, 'x'), (NULL, NULL)"
        yield "DELETE FROM gipk WHERE my_row_id = 2"
    if dialect.mariadb:
        yield "CREATE TABLE compressed_columns (id int PRIMARY KEY, v varchar(5000) COMPRESSED, b longblob COMPRESSED)"
        yield "INSERT INTO compressed_columns VALUES (1, REPEAT('abc', 900), REPEAT(X'00', 9000)), (2, NULL, '')"
    columns = ", ".join(f"c{n} int DEFAULT {n}" for n in range(300))
    yield f"CREATE TABLE many_columns ({columns})"
    yield "INSERT INTO many_columns () VALUES (), ()"
    yield "CREATE TABLE no_rows (a int, b text)"


def _constraints(dialect: Dialect) -> Iterator[str]:
    enforced = " NOT ENFORCED" if dialect.is_mysql(8, 0, 16) else ""
    yield f"""CREATE TABLE checks (a int CHECK (a > 0), b varchar(10) CHARACTER SET utf8mb4, c int,
        CONSTRAINT `named ``check``` CHECK (b <> 'it''s \\\\' AND c < 10), CONSTRAINT off CHECK (c <> 5){enforced})"""
    yield "INSERT INTO checks VALUES (1, 'x', 1), (NULL, NULL, NULL)"


def _foreign_keys(dialect: Dialect) -> Iterator[str]:
    yield "SET foreign_key_checks = 0"
    yield """CREATE TABLE fk_a (id int PRIMARY KEY, b int, CONSTRAINT `fk ``a``` FOREIGN KEY (b) REFERENCES fk_b (id) ON DELETE SET NULL)"""
    yield """CREATE TABLE fk_b (id int PRIMARY KEY, a int, KEY own_index (a), CONSTRAINT fk_to_a FOREIGN KEY (a) REFERENCES fk_a (id) ON UPDATE CASCADE)"""
    yield """CREATE TABLE fk_self (id int PRIMARY KEY, parent int, CONSTRAINT up FOREIGN KEY (parent) REFERENCES fk_self (id) ON DELETE CASCADE)"""
    yield "INSERT INTO fk_a VALUES (1, 1), (2, NULL)"
    yield "INSERT INTO fk_b VALUES (1, 2), (2, 1)"
    yield "INSERT INTO fk_self VALUES (1, 3), (2, 1), (3, 2), (4, 4), (5, NULL)"
    yield "SET foreign_key_checks = 1"
    yield "CREATE TABLE fk_parent (x varchar(10) CHARACTER SET latin1, y int, z int, PRIMARY KEY (x, y), UNIQUE KEY (z))"
    yield """CREATE TABLE `a_child (fk)` (id int PRIMARY KEY, x varchar(10) CHARACTER SET latin1, y int, z int, FOREIGN KEY (x, y)
        REFERENCES fk_parent (x, y) ON DELETE RESTRICT ON UPDATE NO ACTION, FOREIGN KEY (z) REFERENCES fk_parent (z))"""
    yield "INSERT INTO fk_parent VALUES ('p', 1, 10), ('q', 2, NULL)"
    yield "INSERT INTO `a_child (fk)` VALUES (1, 'p', 1, 10), (2, NULL, 5, NULL)"
    if dialect.is_mysql(8, 4) or dialect.mariadb:
        if not dialect.mariadb:
            yield "SET restrict_fk_on_non_standard_key = OFF"
        yield "CREATE TABLE fk_loose_parent (a int, b int, KEY (a, b))"
        yield "CREATE TABLE fk_loose (a int, FOREIGN KEY (a) REFERENCES fk_loose_parent (a))"
        yield "INSERT INTO fk_loose_parent VALUES (1, 1), (1, 2)"
        yield "INSERT INTO fk_loose VALUES (1), (NULL)"
        if not dialect.mariadb:
            yield "SET restrict_fk_on_non_standard_key = DEFAULT"


def _options(dialect: Dialect) -> Iterator[str]:
    for row_format in ("COMPACT", "REDUNDANT", "DYNAMIC", "COMPRESSED"):
        size = " KEY_BLOCK_SIZE=8" if row_format == "COMPRESSED" else ""
        yield f"CREATE TABLE format_{row_format.lower()} (id int PRIMARY KEY, v varchar(200)) ROW_FORMAT={row_format}{size}"
        yield f"INSERT INTO format_{row_format.lower()} VALUES (1, 'x')"
    yield """CREATE TABLE options (id int PRIMARY KEY) DEFAULT CHARACTER SET greek COLLATE greek_bin STATS_PERSISTENT=0 STATS_AUTO_RECALC=1
        STATS_SAMPLE_PAGES=9 MIN_ROWS=5 MAX_ROWS=500 AVG_ROW_LENGTH=20 COMMENT='options'"""
    yield """CREATE TABLE collations (a varchar(10), b varchar(10) COLLATE latin1_bin, c varchar(10) CHARACTER SET utf8mb4, d text CHARACTER SET
        utf8mb3 COLLATE utf8mb3_unicode_ci, e char(3) CHARACTER SET binary, f enum('x') CHARACTER SET cp1251) CHARACTER SET latin1 COLLATE latin1_danish_ci"""
    yield "INSERT INTO collations VALUES ('é', 'é', 'é', 'é', 'abc', 'x')"
    yield "CREATE TABLE of_the_database (v varchar(10), t text)"  # its default character set decides
    yield "INSERT INTO of_the_database VALUES ('é', 'ß')"
    if dialect.mariadb:
        yield "CREATE TABLE page_compressed (id int PRIMARY KEY, v text) PAGE_COMPRESSED=1"
        yield "INSERT INTO page_compressed VALUES (1, REPEAT('x', 3000))"


def _partitions(dialect: Dialect) -> Iterator[str]:
    yield """CREATE TABLE part_range (id int NOT NULL, d date NOT NULL, v int, PRIMARY KEY (id, d)) PARTITION BY RANGE (YEAR(d))
        (PARTITION old VALUES LESS THAN (2000) COMMENT = 'it''s old', PARTITION `mid dle` VALUES LESS THAN (2020), PARTITION rest VALUES LESS THAN MAXVALUE)"""
    yield insert("part_range", "id, d, v", [f"{n}, '{1990 + n % 40}-01-01', {n}" for n in range(200)])
    yield """CREATE TABLE part_list (id int, kind varchar(10) CHARACTER SET utf8mb4, UNIQUE (id, kind)) PARTITION BY LIST COLUMNS (kind)
        (PARTITION p1 VALUES IN ('a', 'it''s', NULL), PARTITION p2 VALUES IN ('ü', ''))"""
    yield "INSERT INTO part_list VALUES (1, 'a'), (2, 'it''s'), (3, NULL), (4, 'ü'), (NULL, '')"
    yield "CREATE TABLE part_hash (id int PRIMARY KEY AUTO_INCREMENT, v int, KEY (v)) AUTO_INCREMENT=70 PARTITION BY LINEAR HASH (id) PARTITIONS 5"
    yield insert("part_hash", "v", [str(n) for n in range(50)])
    yield "CREATE TABLE part_key (id int, v int) PARTITION BY KEY (v) PARTITIONS 3"
    yield "INSERT INTO part_key VALUES (1, 1), (1, 1), (NULL, NULL)"
    yield """CREATE TABLE part_sub (id int, d date) PARTITION BY RANGE (TO_DAYS(d)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2
        (PARTITION p0 VALUES LESS THAN (TO_DAYS('2010-01-01')), PARTITION p1 VALUES LESS THAN MAXVALUE)"""
    yield "INSERT INTO part_sub VALUES (1, '2000-01-01'), (2, '2020-01-01'), (3, NULL)"
    yield """CREATE TABLE part_zone (ts timestamp NOT NULL, id int) PARTITION BY RANGE (UNIX_TIMESTAMP(ts))
        (PARTITION summer VALUES LESS THAN (UNIX_TIMESTAMP('2024-10-27 01:00:00')), PARTITION winter VALUES LESS THAN MAXVALUE)"""
    yield "INSERT INTO part_zone VALUES ('2024-10-27 00:30:00', 1), ('2024-10-27 01:30:00', 2)"
    yield """CREATE TABLE part_columns (a int, b varchar(5) CHARACTER SET latin1) PARTITION BY RANGE COLUMNS (a, b)
        (PARTITION p0 VALUES LESS THAN (5, 'm'), PARTITION p1 VALUES LESS THAN (MAXVALUE, MAXVALUE))"""
    yield "INSERT INTO part_columns VALUES (1, 'z'), (5, 'a'), (5, 'z'), (NULL, NULL)"


def _versioned(dialect: Dialect) -> Iterator[str]:
    yield "CREATE TABLE versioned (id int PRIMARY KEY, v varchar(10)) WITH SYSTEM VERSIONING"
    yield """CREATE TABLE versioned_named (id int PRIMARY KEY, v int, quiet int WITHOUT SYSTEM VERSIONING, `from` timestamp(6) GENERATED ALWAYS AS ROW START
        INVISIBLE, `to` timestamp(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (`from`, `to`)) WITH SYSTEM VERSIONING"""
    yield """CREATE TABLE versioned_parts (id int PRIMARY KEY, v int) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME
        (PARTITION past HISTORY, PARTITION present CURRENT)"""
    for day in range(1, 4):
        yield f"SET timestamp = UNIX_TIMESTAMP('2024-01-0{day} 12:00:00.000{day}')"
        for table in ("versioned", "versioned_named", "versioned_parts"):
            if day == 1:
                yield f"INSERT INTO {table} (id, v) VALUES (1, 1), (2, 1), (3, 1)"
            else:
                yield f"UPDATE {table} SET v = {day} WHERE id < {day}"
            if day == 2:
                yield f"DELETE FROM {table} WHERE id = 3"
    yield "SET timestamp = DEFAULT"
    overlaps = ", UNIQUE (room, booked WITHOUT OVERLAPS)" if dialect.is_mariadb(10, 5, 3) else ""
    yield f"""CREATE TABLE booked (room int, first date, after date, PERIOD FOR booked (first, after){overlaps})"""
    yield "INSERT INTO booked VALUES (1, '2024-01-01', '2024-02-01'), (1, '2024-02-01', '2024-03-01')"
