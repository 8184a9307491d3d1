-- The shop, as MariaDB and MySQL have it, and a few things that backups of those trip over.
-- Every value is computed from a row's number, so each run makes the same data.
-- What stands in /*M! … */ is MariaDB's alone, from that version on.
SET NAMES utf8mb4;
SET time_zone = '+00:00';
SET sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION';

CREATE TABLE digits (d int PRIMARY KEY);
INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
CREATE TABLE numbers (n int PRIMARY KEY);
INSERT INTO numbers SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d
    FROM digits a, digits b, digits c, digits d, digits e;

CREATE TABLE customers (
    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name varchar(80) NOT NULL COMMENT 'as it stands on the parcel: "quotes", commas, an umlaut: ü',
    email varchar(120) CHARACTER SET ascii COLLATE ascii_bin UNIQUE,
    newsletter bit(1) NOT NULL DEFAULT b'0',
    credit decimal(12,2) NOT NULL DEFAULT 0 CHECK (credit >= -500),
    home point NOT NULL,
    likes set('tea', 'coffee', 'it''s water') NOT NULL DEFAULT '',
    born date,
    opens_at time(3),
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    SPATIAL KEY customers_home (home)
) AUTO_INCREMENT = 1;

CREATE TABLE products (
    sku binary(16) NOT NULL PRIMARY KEY,
    name varchar(60) NOT NULL,
    description text,
    price decimal(10,2) NOT NULL,
    weight float,
    volume double,
    details json NOT NULL,
    photo mediumblob,
    flags bit(16),
    first_sold year,
    price_with_tax decimal(12,4) AS (price * 1.19) STORED,
    weight_class varchar(10) AS (IF(weight > 400, 'heavy', 'light')) VIRTUAL,
    KEY products_dear (price DESC),
    KEY products_class (weight_class),
    FULLTEXT KEY products_words (name, description)
) COMMENT = 'prices without tax';

CREATE TABLE orders (
    id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    customer_id bigint unsigned NOT NULL,
    status enum('new', 'paid', 'shipped', 'returned', 'on hold') NOT NULL DEFAULT 'new',
    ordered_at datetime(6) NOT NULL,
    changed_at timestamp(3) NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP(3),
    note varchar(200),
    KEY orders_customer (customer_id, ordered_at),
    CONSTRAINT orders_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id)
);

CREATE TABLE order_items (
    order_id int unsigned NOT NULL,
    line tinyint NOT NULL,
    sku binary(16) NOT NULL,
    quantity smallint unsigned NOT NULL,
    price decimal(10,2) NOT NULL,
    ordered_on date NOT NULL,
    PRIMARY KEY (order_id, line, ordered_on)
) PARTITION BY RANGE COLUMNS (ordered_on) (
    PARTITION spring VALUES LESS THAN ('2025-04-01'),
    PARTITION summer VALUES LESS THAN ('2025-07-01'),
    PARTITION autumn VALUES LESS THAN ('2025-10-01'),
    PARTITION later VALUES LESS THAN (MAXVALUE)
);

CREATE TABLE reviews (
    id int NOT NULL AUTO_INCREMENT PRIMARY KEY,
    sku binary(16) NOT NULL,
    stars tinyint,
    body mediumtext CHARACTER SET latin1,
    written_at datetime,
    CONSTRAINT reviews_sku FOREIGN KEY (sku) REFERENCES products (sku) ON DELETE CASCADE
) AUTO_INCREMENT = 1000;

CREATE TABLE price_changes (
    sku binary(16), old_price decimal(10,2), new_price decimal(10,2), changed_at datetime(6), changed_by varchar(255)
);

CREATE TABLE old_catalogue (page int PRIMARY KEY, content text) ENGINE = MyISAM;

-- Names that a careless script falls over.
CREATE TABLE `Weird ``name``; --` (id int PRIMARY KEY, `select` text, `two
lines` text, `ünïcödé` text);
CREATE TABLE `-rf` (id int PRIMARY KEY, content text);
CREATE TABLE `a/b.c` (nothing int);

INSERT INTO customers (name, email, newsletter, credit, home, likes, born, opens_at, created_at)
SELECT CONCAT(ELT(1 + n % 8, 'Ada', 'Björn', 'Chloé', 'Dmitri', 'Ełżbieta', 'Faruk', 'Grace', 'Hòa 🛒'), ' ',
              ELT(1 + n % 6, 'O''Neill', 'Müller', 'Nakamura', 'da Silva', '"Quote"', 'Smith\\')),
       IF(n % 50 <> 0, CONCAT('customer', n, '@example.org'), NULL),
       n % 4 = 0,
       (n * 7919 % 100000) / 100 - 500,
       ST_GeomFromText(CONCAT('POINT(', n % 360 - 180, ' ', n % 170 / 2 - 40, ')')),
       n % 8,
       '1940-01-01' + INTERVAL n % 25000 DAY,
       SEC_TO_TIME(n % 86400 + n / 1000),
       '2020-01-01 00:00:00' + INTERVAL n * 37 MINUTE
FROM numbers WHERE n <= 40000 ORDER BY n;

INSERT INTO products (sku, name, description, price, weight, volume, details, photo, flags, first_sold)
SELECT UNHEX(LEFT(SHA2(CONCAT('sku', n), 256), 32)),
       CONCAT(ELT(1 + n % 6, 'Lamp', 'Chair', 'Kettle', 'Rug', 'Clock', 'Shelf'), ' No. ', n),
       IF(n % 7 <> 0, REPEAT('Sturdy, with a tab\tand a \\backslash, a new\nline, a NUL\0. ', 1 + n % 5), NULL),
       (n * 3571 % 100000) / 100 + 0.99,
       n / 7,
       n / 3.0e100,
       JSON_OBJECT('colours', JSON_ARRAY('red', 'blue'), 'stock', n % 300, 'name', 'ü "quoted"'),
       UNHEX(REPEAT(SHA2(n, 224), 1 + n % 60)),
       n % 65536,
       1970 + n % 50
FROM numbers WHERE n <= 6000 ORDER BY n;

INSERT INTO orders (customer_id, status, ordered_at, changed_at, note)
SELECT 1 + n * 7 % 40000,
       1 + n % 5,
       '2025-01-01 00:00:00.000001' + INTERVAL n * 5 MINUTE,
       IF(n % 3 = 0, '2025-03-30 01:30:00.125' + INTERVAL n MINUTE, NULL),
       CASE n % 11 WHEN 0 THEN '' WHEN 1 THEN '\\N' WHEN 2 THEN NULL ELSE CONCAT('note ', SHA2(n, 224)) END
FROM numbers ORDER BY n;

INSERT INTO order_items
SELECT o.id, 1 + d.d, UNHEX(LEFT(SHA2(CONCAT('sku', 1 + (o.id * 13 + d.d * 101) % 6000), 256), 32)), 1 + o.id % 4,
       (o.id * 31 + d.d) % 90000 / 100, DATE(o.ordered_at)
FROM orders o JOIN digits d ON d.d <= o.id % 4 ORDER BY o.id, d.d;

INSERT INTO reviews (sku, stars, body, written_at)
SELECT UNHEX(LEFT(SHA2(CONCAT('sku', 1 + n % 6000), 256), 32)), 1 + n % 5, CONCAT('I säy: ', REPEAT(CONCAT(SHA2(n, 224), ' '), 1 + n % 8)),
       '2025-03-01 00:00:00' + INTERVAL n * 11 MINUTE
FROM numbers WHERE n <= 40000 ORDER BY n;

INSERT INTO old_catalogue SELECT n, CONCAT('page ', n) FROM numbers WHERE n <= 300;
INSERT INTO `Weird ``name``; --` SELECT n, CONCAT('row ', n), 'first\nsecond\\', REPEAT('🛒', n % 20) FROM numbers WHERE n <= 2000;
INSERT INTO `-rf` SELECT n, '\\.' FROM numbers WHERE n <= 500;

DROP TABLE numbers;
DROP TABLE digits;

-- A table that remembers what it held: its past is part of a backup too.
/*M!101100 CREATE TABLE tariffs (
    country char(2) PRIMARY KEY, percent decimal(5,2) NOT NULL
) WITH SYSTEM VERSIONING */;
/*M!101100 INSERT INTO tariffs VALUES ('DE', 19), ('FR', 20), ('VN', 10) */;
/*M!101100 UPDATE tariffs SET percent = 16 WHERE country = 'DE' */;
/*M!101100 DELETE FROM tariffs WHERE country = 'FR' */;
/*M!100300 CREATE SEQUENCE invoice_numbers START WITH 202500001 INCREMENT BY 1 CACHE 10 */;
/*M!100300 DO NEXTVAL(invoice_numbers) */;

-- What watches over the tables, and what is derived from them.
DELIMITER //
CREATE TRIGGER price_watch AFTER UPDATE ON products FOR EACH ROW
BEGIN
    IF old.price <> new.price THEN
        INSERT INTO price_changes VALUES (old.sku, old.price, new.price, NOW(6), CURRENT_USER());
    END IF;
END //
CREATE TRIGGER notes_are_tidy BEFORE INSERT ON orders FOR EACH ROW SET new.note = TRIM(new.note) //
CREATE FUNCTION revenue(since date) RETURNS decimal(14,2) READS SQL DATA
    RETURN (SELECT SUM(quantity * price) FROM order_items WHERE ordered_on >= since) //
CREATE PROCEDURE close_old_orders(IN before_day date) COMMENT 'each January'
BEGIN
    UPDATE orders SET status = 'on hold' WHERE ordered_at < before_day;
END //
CREATE EVENT tidy_up ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' COMMENT 'at night'
    DO BEGIN
        DELETE FROM price_changes WHERE changed_at < NOW() - INTERVAL 10 YEAR;
    END //
DELIMITER ;

CREATE VIEW customers_without_orders AS
    SELECT id, name FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id);
CREATE SQL SECURITY INVOKER VIEW revenue_by_month AS
    SELECT DATE_FORMAT(ordered_on, '%Y-%m') AS month, COUNT(*) AS order_lines, SUM(quantity * price) AS revenue
    FROM order_items GROUP BY 1;

CREATE DATABASE warehouse;
CREATE TABLE warehouse.shelves (id int PRIMARY KEY, place varchar(20), KEY (place));
INSERT INTO warehouse.shelves SELECT id, CONCAT('aisle ', id % 40) FROM orders WHERE id <= 20000;
