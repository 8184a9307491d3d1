"""The words of SQL that completion offers first, and those that cannot be bare names."""

from __future__ import annotations


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split(","))


# What a statement begins with.
STATEMENTS = _phrases(
    """SELECT, INSERT INTO, UPDATE, DELETE FROM, WITH, CREATE, ALTER, DROP, TRUNCATE, EXPLAIN, EXPLAIN
    ANALYZE, BEGIN, COMMIT, ROLLBACK, ANALYZE, VACUUM, GRANT, REVOKE, SET, SHOW, CALL, COPY,
    COMMENT ON, DO, LOCK TABLE, MERGE INTO, REFRESH MATERIALIZED VIEW, REINDEX, RESET, SAVEPOINT,
    TABLE, VALUES"""
)
# What is typed most inside of one, the most frequent first.
COMMON = _phrases(
    """SELECT, FROM, WHERE, GROUP BY, ORDER BY, HAVING, LIMIT, OFFSET, JOIN, LEFT JOIN, RIGHT JOIN, INNER
    JOIN, FULL JOIN, CROSS JOIN, ON, USING, AS, AND, OR, NOT, NULL, IS NULL, IS NOT NULL, IN,
    LIKE, ILIKE, BETWEEN, EXISTS, DISTINCT, UNION, UNION ALL, INTERSECT, EXCEPT, CASE, WHEN, THEN,
    ELSE, END, ASC, DESC, NULLS FIRST, NULLS LAST, VALUES, SET, RETURNING, ON CONFLICT, DO
    NOTHING, DO UPDATE SET, WITH, OVER, PARTITION BY, FILTER, LATERAL, TRUE, FALSE, CAST,
    INTERVAL, EXTRACT, TABLE, VIEW, INDEX, FUNCTION, SCHEMA, PRIMARY KEY, FOREIGN KEY, REFERENCES,
    UNIQUE, CHECK, DEFAULT, CONSTRAINT, IF EXISTS, IF NOT EXISTS, CASCADE, FOR UPDATE, WINDOW"""
)
# What PostgreSQL or MySQL do not take as a bare name of a table or a column.
RESERVED = frozenset(
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
EVERY_WORD = frozenset(word.lower() for phrase in (*STATEMENTS, *COMMON) for word in phrase.split())
