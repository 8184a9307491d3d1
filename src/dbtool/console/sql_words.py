"""The words of SQL, by dialect: those that completion offers first, and those that cannot be bare names."""

from __future__ import annotations

from dataclasses import dataclass, field


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split(","))


@dataclass(frozen=True)
class Words:
    """What a dialect is made of."""

    statements: tuple[str, ...]  # what a statement begins with
    common: tuple[str, ...]  # what is typed most inside of one, the most frequent first
    reserved: frozenset[str]  # lower case: what is not taken as a bare name of a table or a column
    before_relations: tuple[str, ...]  # offered where a table may stand
    every_word: frozenset[str] = field(init=False)  # lower case: of the phrases above, each by itself

    def __post_init__(self) -> None:
        words = (word.lower() for phrase in (*self.statements, *self.common) for word in phrase.split())
        object.__setattr__(self, "every_word", frozenset(words))


_POSTGRES_STATEMENTS = _phrases(
    """SELECT, INSERT INTO, UPDATE, DELETE FROM, WITH, CREATE, ALTER, DROP, TRUNCATE, EXPLAIN, EXPLAIN
    ANALYZE, BEGIN, COMMIT, ROLLBACK, ANALYZE, VACUUM, GRANT, REVOKE, SET, SHOW, CALL, COPY,
    COMMENT ON, DO, LOCK TABLE, MERGE INTO, REFRESH MATERIALIZED VIEW, REINDEX, RESET, SAVEPOINT,
    TABLE, VALUES"""
)
_POSTGRES_COMMON = _phrases(
    """SELECT, FROM, WHERE, GROUP BY, ORDER BY, HAVING, LIMIT, OFFSET, JOIN, LEFT JOIN, RIGHT JOIN, INNER
    JOIN, FULL JOIN, CROSS JOIN, ON, USING, AS, AND, OR, NOT, NULL, IS NULL, IS NOT NULL, IN,
    LIKE, ILIKE, BETWEEN, EXISTS, DISTINCT, UNION, UNION ALL, INTERSECT, EXCEPT, CASE, WHEN, THEN,
    ELSE, END, ASC, DESC, NULLS FIRST, NULLS LAST, VALUES, SET, RETURNING, ON CONFLICT, DO
    NOTHING, DO UPDATE SET, WITH, OVER, PARTITION BY, FILTER, LATERAL, TRUE, FALSE, CAST,
    INTERVAL, EXTRACT, TABLE, VIEW, INDEX, FUNCTION, SCHEMA, PRIMARY KEY, FOREIGN KEY, REFERENCES,
    UNIQUE, CHECK, DEFAULT, CONSTRAINT, IF EXISTS, IF NOT EXISTS, CASCADE, FOR UPDATE, WINDOW"""
)
_POSTGRES_RESERVED = frozenset(
    _phrases(
        """all, analyse, analyze, and, any, array, as, asc, asymmetric, between, both, by, case, cast,
        change, check, collate, column, constraint, create, cross, current_date, current_role,
        current_time, current_timestamp, current_user, default, deferrable, delete, desc,
        distinct, do, else, end, except, exists, false, fetch, for, foreign, from, grant, group,
        groups, having, in, index, initially, inner, insert, intersect, interval, into, is, join,
        key, keys, lateral, leading, left, like, limit, localtime, localtimestamp, natural, not,
        null, of, offset, on, only, option, or, order, outer, over, placing, primary, range, rank,
        references, right, row, rows, select, session_user, set, similar, some, symmetric, system,
        table, tablesample, then, to, trailing, true, union, unique, update, usage, user, using,
        values, variadic, verbose, when, where, window, with"""
    )
)
_MYSQL_STATEMENTS = _phrases(
    """SELECT, INSERT INTO, UPDATE, DELETE FROM, REPLACE INTO, SHOW, DESCRIBE, USE, WITH, CREATE, ALTER,
    DROP, TRUNCATE TABLE, RENAME TABLE, EXPLAIN, EXPLAIN ANALYZE, ANALYZE TABLE, BEGIN, START
    TRANSACTION, COMMIT, ROLLBACK, SAVEPOINT, SET, CALL, GRANT, REVOKE, CHECK TABLE, CHECKSUM TABLE,
    DO, FLUSH, KILL, LOAD DATA INFILE, LOCK TABLES, OPTIMIZE TABLE, REPAIR TABLE, TABLE, UNLOCK TABLES,
    VALUES"""
)
_MYSQL_COMMON = _phrases(
    """SELECT, FROM, WHERE, GROUP BY, ORDER BY, HAVING, LIMIT, OFFSET, JOIN, LEFT JOIN, RIGHT JOIN, INNER
    JOIN, CROSS JOIN, STRAIGHT_JOIN, ON, USING, AS, AND, OR, NOT, NULL, IS NULL, IS NOT NULL, IN,
    LIKE, RLIKE, REGEXP, BETWEEN, EXISTS, DISTINCT, UNION, UNION ALL, INTERSECT, EXCEPT, CASE, WHEN,
    THEN, ELSE, END, ASC, DESC, VALUES, SET, ON DUPLICATE KEY UPDATE, RETURNING, WITH, WITH RECURSIVE,
    WITH ROLLUP, OVER, PARTITION BY, LATERAL, TRUE, FALSE, CAST, CONVERT, COLLATE, INTERVAL, DIV, MOD,
    XOR, FORCE INDEX, USE INDEX, IGNORE INDEX, FOR UPDATE, LOCK IN SHARE MODE, TABLE, TABLES, DATABASE,
    DATABASES, COLUMNS, VIEW, INDEX, KEY, FUNCTION, PROCEDURE, TRIGGER, EVENT, PRIMARY KEY, FOREIGN KEY,
    REFERENCES, UNIQUE, CHECK, DEFAULT, AUTO_INCREMENT, CONSTRAINT, ENGINE, CHARACTER SET, IF EXISTS, IF
    NOT EXISTS, CASCADE, CREATE TABLE, VARIABLES, STATUS, PROCESSLIST, WARNINGS, GRANTS, WINDOW"""
)
# What either MySQL or MariaDB reserves: a name in back-ticks too many harms nobody.
_MYSQL_RESERVED = frozenset(
    _phrases(
        """accessible, add, all, alter, analyze, and, as, asc, asensitive, before, between, bigint, binary,
        blob, both, by, call, cascade, case, change, char, character, check, collate, column, condition,
        constraint, continue, convert, create, cross, cube, cume_dist, current_date, current_role,
        current_time, current_timestamp, current_user, cursor, database, databases, day_hour,
        day_microsecond, day_minute, day_second, dec, decimal, declare, default, delayed, delete,
        delete_domain_id, dense_rank, desc, describe, deterministic, distinct, distinctrow, div,
        do_domain_ids, double, drop, dual, each, else, elseif, empty, enclosed, escaped, except, exists,
        exit, explain, false, fetch, first_value, float, float4, float8, for, force, foreign, from,
        fulltext, function, general, generated, get, grant, group, grouping, groups, having,
        high_priority, hour_microsecond, hour_minute, hour_second, if, ignore, ignore_domain_ids,
        ignore_server_ids, in, index, infile, inner, inout, insensitive, insert, int, int1, int2, int3,
        int4, int8, integer, intersect, interval, into, io_after_gtids, io_before_gtids, is, iterate,
        join, json_table, key, keys, kill, lag, last_value, lateral, lead, leading, leave, left, library,
        like, limit, linear, lines, load, localtime, localtimestamp, lock, long, longblob, longtext,
        loop, low_priority, manual, master_bind, master_heartbeat_period,
        master_ssl_verify_server_cert, match, maxvalue, mediumblob, mediumint, mediumtext, middleint,
        minute_microsecond, minute_second, mod, modifies, natural, not, no_write_to_binlog, nth_value,
        ntile, null, numeric, of, offset, on, optimize, optimizer_costs, option, optionally, or, order,
        out, outer, outfile, over, page_checksum, parallel, parse_vcol_expr, partition, percent_rank,
        precision, primary, procedure, purge, qualify, range, rank, read, reads, read_write, real,
        recursive, references, ref_system_id, regexp, release, rename, repeat, replace, require,
        resignal, restrict, return, returning, revoke, right, rlike, row, row_number, rows, schema,
        schemas, second_microsecond, select, sensitive, separator, set, show, signal, slow, smallint,
        spatial, specific, sql, sqlexception, sqlstate, sqlwarning, sql_big_result,
        sql_calc_found_rows, sql_small_result, ssl, starting, stats_auto_recalc, stats_persistent,
        stats_sample_pages, stored, straight_join, system, table, tablesample, terminated, then,
        tinyblob, tinyint, tinytext, to, trailing, trigger, true, undo, union, unique, unlock, unsigned,
        update, usage, use, using, utc_date, utc_time, utc_timestamp, values, varbinary, varchar,
        varcharacter, varying, virtual, when, where, while, window, with, write, xor, year_month, zerofill"""
    )
)

_WORDS = {
    "postgres": Words(
        _POSTGRES_STATEMENTS,
        _POSTGRES_COMMON,
        _POSTGRES_RESERVED,
        ("ONLY", "LATERAL", "SELECT", "IF EXISTS", "IF NOT EXISTS", "VERBOSE"),
    ),
    "mysql": Words(
        _MYSQL_STATEMENTS,
        _MYSQL_COMMON,
        _MYSQL_RESERVED,
        ("LATERAL", "SELECT", "IF EXISTS", "IF NOT EXISTS", "TABLE", "IGNORE"),
    ),
}


def of(dialect: str) -> Words:
    """The words of a dialect, "postgres" or "mysql"."""
    return _WORDS[dialect]
