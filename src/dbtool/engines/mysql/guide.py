"""RESTORE.md: how to restore a MySQL or MariaDB backup on a machine that has never seen dbtool."""

from __future__ import annotations

from typing import Any

from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.text import printable, shell_word

CLIENT_OPTIONS = "--comments --binary-mode --default-character-set=utf8mb4 --max-allowed-packet=1G"
_MEBIBYTE = 1 << 20


def restore_guide(
    main_name: str,
    backup: dict[str, Any],
    largest_statement: int,
    is_partial: bool,
    has_globals: bool,
) -> str:
    """The text, with the real names. `backup` is what the archive's index says of its backup; the
    largest statement is in bytes."""
    database = backup["database"]
    name = database["name"]
    is_mariadb = backup["flavour"] == "mariadb"
    label = f"{'MariaDB' if is_mariadb else 'MySQL'} {backup['server']['version']}"
    client = "mariadb" if is_mariadb else "mysql"
    file = shell_word(main_name if not main_name.startswith("-") else f"./{main_name}")
    what = "Some tables" if is_partial else "A full logical backup"
    packet = packet_mebibytes(largest_statement)
    return f"""# Restoring {printable(backup["id"])}

{what} of the {label} database {printable(quote_identifier(name))}, as it was at {backup["snapshot"]["time"]}.

`{printable(main_name)}` is an ordinary zstd file that decodes to one SQL script. With dbtool:

    dbtool restore PATH/{printable(main_name)} --into DATABASE

## Without dbtool

You need `zstd` and the client of MySQL or MariaDB, `mysql` or `mariadb`. (On MySQL only what MySQL knows can be made
again, and on MariaDB what MariaDB knows.)

1. Users belong to the server, not to the database. {_users_sentence(client, has_globals)}
2. Make an empty database like the original:

       {client} -e {shell_word(create_statement(database))}

3. Run the script in it. It stops at the first error, and the client then exits with 1. (The client does not notice a
   file that is cut off: `zstd -t` does, see below.)

       zstd -dc {file} | {client} {CLIENT_OPTIONS} {shell_word(f"--database={name}")}

   All four options matter: without `--comments`, MariaDB's client takes the comments out of routines; without
   `--binary-mode`, carriage returns in routines are lost and lines of the script could give the client commands;
   the character set is the one in which clients find the ends of strings; and the largest statement here has
   {size_text(largest_statement)}.

The server takes no statement beyond its own `max_allowed_packet`: it must be at least {packet} MiB here
(`SET GLOBAL max_allowed_packet = {packet * _MEBIBYTE};`). The account needs the right to make everything that is in the
script, for other definers too: `SET USER` on MariaDB, `SET_ANY_DEFINER` (`SET_USER_ID` before 8.2) on MySQL. Where
there is a binary log, functions and triggers need `log_bin_trust_function_creators = 1`, or `SUPER`.

There is no transaction around it: MySQL and MariaDB commit at each definition. What a script that was broken off has
made, `DROP DATABASE` takes away.

## Looking inside

    zstd -dc {file} | less
    zstd -t {file}          # checks every checksum

`schema.sql` is the schema alone. `metadata.json` holds the row count and a digest of every table, and the SHA-256 of
every file here.
"""


def create_statement(database: dict[str, Any]) -> str:
    """What makes an empty database like the original."""
    return (
        f"CREATE DATABASE {quote_identifier(database['name'])} "
        f"CHARACTER SET {database['encoding']} COLLATE {database['collation']}"
    )


def packet_mebibytes(largest_statement: int) -> int:
    """What the server's max_allowed_packet must be at least, for a statement of so many bytes."""
    return max(16, -(-largest_statement // _MEBIBYTE) + 1)


def size_text(size_bytes: int) -> str:
    """A size in MiB, rounded up."""
    return f"{max(1, -(-size_bytes // _MEBIBYTE))} MiB"


def _users_sentence(client: str, has_globals: bool) -> str:
    if has_globals:
        return (
            "Views, routines, triggers and events\n"
            "   work only if the users are there that they are defined by. `globals.sql` makes those that are missing,\n"
            "   with their passwords, and gives all of them their rights. **Read it before.**\n\n"
            f"       {client} --binary-mode < globals.sql\n"
        )
    return (
        "Views, routines, triggers and events\n"
        "   work only if the users are there that they are defined by; they are not in this backup."
    )
