"""What both flavours have built in and cannot list themselves: types, and functions that people call."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace("\n", " ").split())


TYPES = _words(
    """bigint binary bit blob boolean char date datetime decimal double enum float geometry
    geometrycollection int integer json linestring longblob longtext mediumblob mediumint mediumtext
    multilinestring multipoint multipolygon numeric point polygon real serial set signed smallint text
    time timestamp tinyblob tinyint tinytext unsigned varbinary varchar year"""
)
FUNCTIONS = _words(
    """abs acos adddate addtime aes_decrypt aes_encrypt any_value ascii asin atan atan2 avg benchmark
    bin bin_to_uuid bit_and bit_count bit_length bit_or bit_xor cast ceil ceiling char char_length
    character_length charset coalesce coercibility collation compress concat concat_ws connection_id
    conv convert convert_tz cos cot count crc32 cume_dist curdate current_date current_role
    current_time current_timestamp current_user curtime database date date_add date_format date_sub
    datediff day dayname dayofmonth dayofweek dayofyear default degrees dense_rank elt exp export_set
    extract extractvalue field find_in_set first_value floor format format_bytes found_rows from_base64
    from_days from_unixtime get_format get_lock greatest group_concat grouping hex hour if ifnull
    inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr interval is_free_lock is_ipv4 is_ipv6
    is_used_lock is_uuid isnull json_array json_array_append json_array_insert json_arrayagg json_contains
    json_contains_path json_depth json_extract json_insert json_keys json_length json_merge_patch
    json_merge_preserve json_object json_objectagg json_overlaps json_pretty json_quote json_remove
    json_replace json_schema_valid json_search json_set json_table json_type json_unquote json_valid
    json_value lag last_day last_insert_id last_value lcase lead least left length ln load_file
    localtime localtimestamp locate log log10 log2 lower lpad ltrim make_set makedate maketime max
    md5 microsecond mid min minute mod month monthname name_const now nth_value ntile nullif oct
    octet_length ord percent_rank period_add period_diff pi position pow power quarter quote radians
    rand random_bytes rank regexp_instr regexp_like regexp_replace regexp_substr release_all_locks
    release_lock repeat replace reverse right round row_count row_number rpad rtrim schema sec_to_time
    second session_user sha sha1 sha2 sign sin sleep soundex space sqrt st_area st_asgeojson st_astext
    st_contains st_distance st_distance_sphere st_geomfromtext st_intersects st_within st_x st_y std
    stddev stddev_pop stddev_samp str_to_date strcmp subdate substr substring substring_index subtime
    sum sysdate system_user tan time time_format time_to_sec timediff timestamp timestampadd
    timestampdiff to_base64 to_days to_seconds trim truncate ucase uncompress unhex unix_timestamp
    updatexml upper user utc_date utc_time utc_timestamp uuid uuid_short uuid_to_bin values var_pop
    var_samp variance version week weekday weekofyear weight_string year yearweek"""
)
