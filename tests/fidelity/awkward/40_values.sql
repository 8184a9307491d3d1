-- The extremes of each built-in type.
CREATE TABLE app.numbers (
    i2 smallint, i4 integer, i8 bigint, n numeric, n_scaled numeric(12, 4), f4 real, f8 double precision, m money, o oid, b boolean, c "char");
INSERT INTO app.numbers VALUES
    (-32768, -2147483648, -9223372036854775808, 'NaN', -99999999.9999, '-0', '-0', '-92233720368547758.08', 0, true, 'x'),
    (32767, 2147483647, 9223372036854775807, 1e-16383, 0.0001, 'NaN', 'NaN', '92233720368547758.07', 4294967295, false, ''),
    (0, 0, 0, 1e131071, 0, 'Infinity', '-Infinity', 0, 1, NULL, E'\\'),
    (NULL, NULL, NULL, 0.00000, NULL, 1.17549435e-38, 2.2250738585072014e-308, NULL, NULL, NULL, NULL),
    (1, 1, 1, 123456789012345678901234567890.1234567890, 1, 1e-45, 5e-324, 1, 1, true, E'\t'),
    (1, 1, 1, 1.10, 1, 3.4028235e38, 1.7976931348623157e308, 1, 1, true, 'a'),
    (1, 1, 1, 1.100, 1, 0.1, 0.1, 1, 1, true, 'a'),
    (1, 1, 1, -0.0, 1, 0.3, 0.30000000000000004, 1, 1, true, 'a'),
    (1, 1, 1, 1, 1, 16777217, 9007199254740993, 1, 1, true, 'a');
INSERT INTO app.numbers (f4, f8) SELECT (1.234567 + i / 7.0)::real, 1.2345678901234567 + i / 7.0 FROM generate_series(1, 4000) i;

CREATE TABLE app.times (d date, t time, tz timetz, ts timestamp, tstz timestamptz, i interval, ts0 timestamp(0), i_year interval year to month);
INSERT INTO app.times VALUES
    ('-infinity', '00:00:00', '00:00:00+15:59', '-infinity', '-infinity', '-178000000 years', '2020-01-01 12:00:00.6', '1 year 2 months'),
    ('infinity', '24:00:00', '24:00:00-15:59', 'infinity', 'infinity', '178000000 years', NULL, NULL),
    ('4713-11-24 BC', '23:59:59.999999', '12:34:56.789+05:30', '4713-11-24 00:00:00 BC', '4713-11-25 00:00:00+00 BC',
     '1 mon -1 day +01:02:03.000004', NULL, '-1 month'),
    ('5874897-12-31', NULL, NULL, '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '-00:00:00.000001', NULL, NULL),
    ('0001-01-01', '00:00:00.000001', '00:00+00', '0001-12-31 23:59:59 BC', '1900-01-01 00:00:00+00', '1 year', NULL, NULL),
    ('2020-02-29', '12:00', '12:00-03', '1999-12-31 23:59:59.5', '2021-03-28 01:30:00+01', '-1 year +2 days -03:00', NULL, NULL);

CREATE TABLE app.texts (id integer, t text, v varchar(20), c char(10), n name);
INSERT INTO app.texts VALUES (1, '', '', '', ''), (2, NULL, NULL, NULL, NULL), (3, '\N', '\N', '\N', '\N'), (4, '\.', '\.', '\.', '\.'),
    (5, E'\\\\.', E'\n\\.\n', 'trailing  ', 'n'), (6, E'\n\\.\n', E'\r\n', E'\t', E'\n'), (7, E'a\r\nb\rc\nd', 'x  ', 'x', ''),
    (8, '-- TOC entry 5 (class 1259 OID 16400)', 'COPY x FROM stdin;', 'x', 'x'),
    (9, E'\\restrict abc\n\\unrestrict abc\n\\connect postgres\n\\! true', NULL, NULL, NULL),
    (10, E'COPY app.texts (id) FROM stdin;\n1\n\\.\n', NULL, NULL, NULL),
    (11, '$$ $_$ $x$ ''quote'' "double" `tick`', NULL, NULL, NULL), (12, repeat(E'\\', 1001), NULL, NULL, NULL),
    (13, 'NULL', 'null', 'NULL', 'NULL'), (14, '日本語 ☃ 😀 e' || U&'\0301' || U&'\FEFF\200B', 'ünï', 'ß', 'ß'), (15, ' lead and trail ', '  ', '  ', '  ');
INSERT INTO app.texts SELECT 1000 + i, 'a' || chr(i) || 'b', chr(i), chr(i), chr(i) FROM generate_series(1, 300) i WHERE i <> 127 OR true;
-- Every pair of a backslash and what may follow it.
INSERT INTO app.texts SELECT 2000 + i, E'\\' || chr(i) || E'\\' FROM generate_series(1, 127) i;

CREATE TABLE app.bytes (id integer, b bytea);
INSERT INTO app.bytes SELECT 0, string_agg(decode(lpad(to_hex(i), 2, '0'), 'hex'), '' ORDER BY i) FROM generate_series(0, 255) i;
INSERT INTO app.bytes SELECT i + 1, decode(repeat(lpad(to_hex(i), 2, '0'), 3), 'hex') FROM generate_series(0, 255) i;
INSERT INTO app.bytes VALUES (-1, ''), (-2, NULL);

CREATE TABLE app.documents (id integer, j json, jb jsonb, x xml, p jsonpath);
INSERT INTO app.documents VALUES
    (1, '{"b" : 1,  "a":2, "a": 3}', '{"b": 1, "a": 2, "a": 3}', '<a>ü</a>', '$.a[*] ? (@ > 1)'),
    (2, 'null', 'null', NULL, NULL), (3, NULL, NULL, NULL, NULL), (4, '"\u00e9\n\t\\ \""', '"\u00e9\n\t\\ \""', '<?xml version="1.0"?><!DOCTYPE a><a/>', 'strict $'),
    (5, '1e400', '1e400', 'just text', NULL), (6, E'[\n1,\n2 ]', '[1.10, 1.1, -0, 1E2]', '<a><![CDATA[]]></a> <b/>', NULL);

CREATE TABLE app.shapes (p point, l line, s lseg, b box, pa path, po polygon, c circle);
INSERT INTO app.shapes VALUES
    ('(1e308,-1e308)', '{1,-1,0.1}', '[(0,0),(1,1)]', '(3,3),(-1,-1)', '[(0,0),(1,0.30000000000000004)]', '((0,0),(1,0),(1,1))', '<(0,0),0>'),
    ('(NaN,Infinity)', NULL, NULL, '(Infinity,Infinity),(-Infinity,-Infinity)', '((0,0))', '((0,0))', '<(NaN,0),Infinity>'),
    ('(-0,0)', '{0,1,-5}', NULL, NULL, NULL, NULL, NULL);

CREATE TABLE app.nets (a inet, c cidr, m macaddr, m8 macaddr8, b bit(5), vb bit varying(100), vb_any bit varying, u uuid);
INSERT INTO app.nets VALUES
    ('0.0.0.0/0', '::/0', '00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff:ff:ff', B'10101', B'', B'1', '00000000-0000-0000-0000-000000000000'),
    ('::ffff:1.2.3.4/96', '10.0.0.0/8', 'ff:ff:ff:ff:ff:ff', NULL, NULL, NULL, B'', 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
    ('2001:db8::1', NULL, NULL, NULL, B'00000', repeat('10', 50)::varbit, repeat('01', 5000)::varbit, NULL);

CREATE TABLE app.collections (id integer, i integer[], t text[], two integer[][], c app."Weird ""composite"[], r int4range, n numrange,
    d daterange, tz tstzrange, i8 int8range, rs int4range[], b bytea[], j jsonb[], boxes box[]);
INSERT INTO app.collections VALUES
    (1, '{}', '{}', '{}', '{}', 'empty', '(,)', '[2020-01-01,2020-12-31]', '[-infinity,infinity]', '[-9223372036854775808,)', '{}', '{}', '{}', '{}'),
    (2, '[-3:-1]={1,NULL,3}', '{NULL,"NULL","",null," ","a,b","{}","\"","\\"}', '[2:3][0:1]={{1,2},{3,NULL}}',
     ARRAY[ROW(1, '"', NULL, NULL)::app."Weird ""composite", NULL], '(1,5]', '[1.10,2.0)', '(,)', '["2020-01-01 00:00:00+02",)', NULL,
     '{empty,"[1,5)","(,)"}', ARRAY['\x00ff'::bytea, ''], ARRAY['{"a": "\"\\"}'::jsonb], '{(1,1),(0,0);(2,2),(1,1)}'),
    (3, NULL, ARRAY[E'\n', E'\t', E'\\.', '\N', E'\b\f\r\v'], NULL, NULL, NULL, '(NaN,NaN]', '[-infinity,infinity)', 'empty', NULL, NULL, NULL, NULL, NULL);

CREATE TABLE app.search_values (v tsvector, q tsquery);
INSERT INTO app.search_values VALUES
    ('''it''''s'':1A,2B ''\\back'':3C a:16383', '''it''''s'' & !a:*AB <2> (b | c)'), ('', ''), (NULL, NULL), (to_tsvector('english', 'The quick brown foxes'), 'a <-> b');

CREATE TABLE app.system_values (l pg_lsn, rc regclass, rt regtype, rp regprocedure, rf regproc, ro regoper, roo regoperator, rr regrole, rn regnamespace,
    rcfg regconfig, rd regdictionary, rcoll regcollation, x xid, x8 xid8, ci cid, ti tid, s pg_snapshot, ts txid_snapshot, a aclitem, rv refcursor, iv int2vector, ov oidvector);
INSERT INTO app.system_values VALUES
    ('FFFFFFFF/FFFFFFFF', 'app.parents', 'app.mood', 'app.slug(text)', 'app.noop', NULL, '+(integer,integer)', 'awkward_owner', 'app',
     'app.search', 'app.numbers', '"C"', '4294967295', '18446744073709551615', '1', '(4294967295,65535)', '10:20:10,14,15', '10:20:10', 'awkward_reader=r*/awkward_owner',
     'a "cursor"', '1 2 -3', '1 4294967295'),
    ('0/0', '-', '-', '-', '-', '0', '0', '-', '-', '-', '-', '-', '0', '0', '0', '(0,0)', '1:1:', '1:1:', '=/awkward_owner', '', '', '');

-- One row of tens of megabytes, and rows about as large as what goes into one piece of a backup.
CREATE TABLE app.huge_rows (id integer PRIMARY KEY, t text, b bytea);
INSERT INTO app.huge_rows SELECT 1, repeat(E'a long line with \\ and \t and \n in it, and so on. ', 500000), NULL;
INSERT INTO app.huge_rows SELECT 2, NULL, decode(repeat('00ff5c0a0d095c2e', 1000000), 'hex');
INSERT INTO app.huge_rows SELECT 2 + i, repeat(md5(i::text), 100000), NULL FROM generate_series(1, 3) i;
INSERT INTO app.huge_rows VALUES (-1, '', '');
-- Enough rows that one table is split.
CREATE TABLE app.many_rows (id bigint PRIMARY KEY, t text, n numeric, at timestamptz);
INSERT INTO app.many_rows SELECT i, md5(i::text), i / 7.0, '2020-01-01'::timestamptz + i * interval '1 s' FROM generate_series(1, 120000) i;
DELETE FROM app.many_rows WHERE id % 10 = 3;
UPDATE app.many_rows SET t = t || '!' WHERE id % 1000 = 1;
