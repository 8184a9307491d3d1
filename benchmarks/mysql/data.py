"""The databases that are measured: made by the server itself, the same on every run.

Not for tests: nothing here is awkward, it is only much of what databases usually hold. What seems to be
chance is made of the rows' numbers and of RAND with a seed.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.words import WORDS

SMALL_TABLES = 3_000
_POOL_SENTENCES = 40_000

# Of the session that loads. With `unique_checks` off as well, MariaDB would sort the rows before it inserts
# them, which takes it twice the time.
LOADING = (
    "SET SESSION sql_log_bin = 0",
    "SET SESSION foreign_key_checks = 0",
    "SET SESSION group_concat_max_len = 1000000",
)


def _any_of(salt: int, *values: str) -> str:
    listed = ", ".join(f"'{value}'" for value in values)
    return f"ELT(1 + FLOOR(RAND({salt}) * {len(values)}), {listed})"


def _sentence(salt: str) -> str:
    """A row of the pool for each number, in no order."""
    return f"STRAIGHT_JOIN pool ON pool.id = CRC32(CONCAT('{salt}', seq)) % {_POOL_SENTENCES}"


_ALL_WORDS = ", ".join(f"'{word}'" for word in WORDS)
_POOL = (
    "CREATE TEMPORARY TABLE pool (id INT PRIMARY KEY, sentence TEXT NOT NULL) "
    "SELECT s.seq AS id, CONCAT_WS(' ', "
    + ", ".join(
        f"IF({number} < 5 + s.seq % 7, ELT(1 + FLOOR(RAND({number}) * {len(WORDS)}), {_ALL_WORDS}), NULL)"
        for number in range(11)
    )
    + f") AS sentence FROM seq_0_to_{_POOL_SENTENCES - 1} AS s"
)

_DEFINITIONS = {
    "customers": """
        id INT NOT NULL PRIMARY KEY, name VARCHAR(120) NOT NULL, email VARCHAR(190) NOT NULL, phone VARCHAR(30),
        address VARCHAR(200), country CHAR(2) NOT NULL, created_at DATETIME NOT NULL,
        is_active TINYINT(1) NOT NULL""",
    "readings": """
        id BIGINT NOT NULL PRIMARY KEY, sensor_id INT NOT NULL, recorded_at INT UNSIGNED NOT NULL,
        value INT NOT NULL, quality SMALLINT NOT NULL""",
    "orders": """
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, customer_id INT NOT NULL,
        status ENUM('new','paid','packed','shipped','delivered','returned') NOT NULL,
        created_at DATETIME NOT NULL, changed_at DATETIME(6) NOT NULL,
        net DECIMAL(12,2) NOT NULL, tax DECIMAL(12,2) NOT NULL, shipping DECIMAL(12,2) NOT NULL,
        currency CHAR(3) NOT NULL, items SMALLINT NOT NULL, weight_grams INT NOT NULL,
        branch SMALLINT NOT NULL, clerk_id INT, is_gift TINYINT(1) NOT NULL, is_disputed TINYINT(1) NOT NULL,
        voucher_id INT, due_on DATE, tracking VARCHAR(20) NOT NULL, reference CHAR(32) NOT NULL,
        street VARCHAR(100), postcode VARCHAR(10), city VARCHAR(60), channel VARCHAR(20),
        priority TINYINT NOT NULL, remark TEXT""",
    "events": """
        id BIGINT NOT NULL PRIMARY KEY, happened_at TIMESTAMP(3) NOT NULL DEFAULT '2024-01-01', kind VARCHAR(20) NOT NULL,
        address VARCHAR(45) NOT NULL, duration DOUBLE NOT NULL, score FLOAT NOT NULL, payload JSON NOT NULL""",
    "documents": "id INT NOT NULL PRIMARY KEY, title VARCHAR(200) NOT NULL, body MEDIUMTEXT NOT NULL",
    "attachments": """
        id INT NOT NULL PRIMARY KEY, document_id INT NOT NULL, media_type VARCHAR(60) NOT NULL,
        content MEDIUMBLOB NOT NULL""",
}
TABLES = tuple(_DEFINITIONS)

_ROWS = {
    "customers": f"""
        SELECT seq, SUBSTRING_INDEX(sentence, ' ', 2),
            CONCAT(SUBSTRING_INDEX(SUBSTRING_INDEX(sentence, ' ', 3), ' ', -1), seq, '@example.org'),
            seq * 7919 % 900000 + 100000,
            CONCAT(SUBSTRING_INDEX(SUBSTRING_INDEX(sentence, ' ', 4), ' ', -1), ' street ', seq % 200),
            ELT(1 + seq % 6, 'DE', 'FR', 'US', 'GB', 'JP', 'BR'), '2018-01-01' + INTERVAL seq * 411 SECOND,
            seq % 17 <> 0
        FROM seq_1_to_{{rows}} {_sentence("c")}""",
    "readings": """
        SELECT seq, FLOOR(RAND(1) * 5000), 1704067200 + FLOOR(seq * 1.7),
            ROUND(20000 + 15000 * SIN(seq / 5000.0) + 1000 * RAND(2)), FLOOR(RAND(3) * 4)
        FROM seq_1_to_{rows}""",
    "orders": f"""
        SELECT seq, 1 + FLOOR(RAND(1) * {{customers}}),
            {_any_of(2, "new", "paid", "packed", "shipped", "delivered", "returned")},
            '2022-01-01' + INTERVAL seq * 29 SECOND,
            '2022-01-01' + INTERVAL seq * 29000000 + FLOOR(RAND(3) * 777600000000) MICROSECOND,
            FLOOR(RAND(4) * 9000000) / 100, FLOOR(RAND(5) * 900000) / 100, FLOOR(RAND(6) * 90000) / 100, 'EUR',
            FLOOR(RAND(7) * 40), FLOOR(RAND(8) * 20000), FLOOR(RAND(9) * 12), FLOOR(RAND(10) * 300),
            RAND(11) < 0.1, RAND(12) < 0.02, IF(RAND(13) < 0.3, FLOOR(RAND(14) * 1000), NULL),
            IF(RAND(15) < 0.2, '2022-01-01' + INTERVAL FLOOR(RAND(16) * 1200) DAY, NULL),
            UPPER(LEFT(MD5(seq), 12)), MD5(CONCAT(seq, 'order')), CONCAT('Street ', FLOOR(RAND(17) * 300)),
            FLOOR(10000 + RAND(18) * 89999),
            {_any_of(19, "Berlin", "Paris", "Lyon", "Hamburg", "London", "Leeds", "Osaka", "Recife")},
            {_any_of(20, "web", "shop", "phone", "partner")}, FLOOR(RAND(21) * 6), sentence
        FROM seq_1_to_{{rows}} {_sentence("o")}""",
    "events": f"""
        SELECT seq, '2024-06-01' + INTERVAL seq * 600000 MICROSECOND,
            {_any_of(1, "login", "view", "search", "cart", "checkout", "error")},
            CONCAT('10.', seq % 256, '.', FLOOR(RAND(2) * 256), '.', FLOOR(RAND(3) * 256)),
            RAND(4) * 2000, ROUND(RAND(5), 4),
            CONCAT('{{{{"session": "', MD5(FLOOR(seq / 12)), '", "page": "/', REPLACE(sentence, ' ', '/'),
                '", "milliseconds": ', FLOOR(RAND(6) * 2000), ', "agent": "Browser/', FLOOR(RAND(7) * 90),
                '.0", "tags": ["', SUBSTRING_INDEX(sentence, ' ', 1), '", "', SUBSTRING_INDEX(sentence, ' ', -1),
                '"], "score": ', ROUND(RAND(8), 4), '}}}}')
        FROM seq_1_to_{{rows}} {_sentence("e")}""",
    "documents": """
        SELECT document.seq, CONCAT('Document ', document.seq),
            (SELECT GROUP_CONCAT(sentence SEPARATOR '.\\n') FROM seq_0_to_80 AS part
             STRAIGHT_JOIN pool ON pool.id = document.seq * 31 % 39900 + part.seq)
        FROM seq_1_to_{rows} AS document""",
    "attachments": """
        SELECT document.seq, document.seq, 'image/png',
            (SELECT UNHEX(GROUP_CONCAT(SHA2(document.seq * 1000 + part.seq, 512) SEPARATOR ''))
             FROM seq_1_to_450 AS part)
        FROM seq_1_to_{rows} AS document""",
}

_KEYS = {
    "customers": "ADD UNIQUE KEY email (email)",
    "readings": "ADD KEY sensor (sensor_id, recorded_at)",
    "orders": "ADD KEY customer (customer_id), ADD KEY created (created_at), ADD KEY status (status, branch)",
    "events": "ADD KEY kind (kind, happened_at)",
    "attachments": "ADD UNIQUE KEY document (document_id)",
}
_FOREIGN_KEYS = {
    "orders": "ADD CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id)",
    "attachments": "ADD CONSTRAINT attachments_document FOREIGN KEY (document_id) REFERENCES documents (id)",
}
# About 1.2 GB of text, of which the orders are two thirds.
_COUNTS = {
    "customers": 200_000,
    "readings": 3_000_000,
    "orders": 2_800_000,
    "events": 450_000,
    "documents": 24_000,
    "attachments": 1_500,
}


def mixed(scale: float) -> Iterator[str]:
    """Narrow numbers, wide rows, decimals, dates, JSON, long texts and binary; one table is most of it."""
    yield _POOL
    counts = {table: max(1, int(count * scale)) for table, count in _COUNTS.items()}
    for table, columns in _DEFINITIONS.items():
        yield f"CREATE TABLE {table} ({columns}) ENGINE=InnoDB"
        rows = _ROWS[table].format(rows=counts[table], customers=counts["customers"])
        yield f"INSERT INTO {table} {rows}"
    for table, clauses in (*_KEYS.items(), *_FOREIGN_KEYS.items()):
        yield f"ALTER TABLE {table} {clauses}"
    yield "DROP TEMPORARY TABLE pool"
    yield "ANALYZE TABLE " + ", ".join(TABLES)


# What a change does to the tables of `mixed`.
UPDATES = {
    "customers": "phone = CONCAT(phone, '1')",
    "readings": "quality = quality + 1",
    "orders": "tax = tax + 1",
    "events": "kind = 'changed'",
    "documents": "title = CONCAT(title, '!')",
    "attachments": "media_type = 'image/jpeg'",
}


def small_tables(count: int = SMALL_TABLES) -> Iterator[str]:
    """Many tables of a few rows, each with keys."""
    for number in range(count):
        yield (
            f"CREATE TABLE t{number} (id INT NOT NULL PRIMARY KEY, name VARCHAR(100) NOT NULL, "
            "at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, KEY name (name)) ENGINE=InnoDB"
        )
        yield f"INSERT INTO t{number} (id, name) SELECT seq, CONCAT('row ', seq) FROM seq_1_to_5"
