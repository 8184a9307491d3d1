"""RESTORE.md of a differential: the base's script, then this one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from dbtool.engines.mysql.guide import CLIENT_OPTIONS, create_statement, packet_mebibytes, size_text
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.text import printable, shell_word


def differential_guide(
    main_name: str, backup: dict[str, Any], base_name: str, largest_statement: int, has_events: bool
) -> str:
    """The text, with the real names. `base_name` is the stored name of the base's archive, which lies two
    folders above this one; `backup` is what the archive's index says of its backup; the largest
    statement is in bytes."""
    database = backup["database"]
    name = database["name"]
    is_mariadb = backup["flavour"] == "mariadb"
    label = f"{'MariaDB' if is_mariadb else 'MySQL'} {backup['server']['version']}"
    client = "mariadb" if is_mariadb else "mysql"
    base_file = shell_word("../../" + PurePosixPath(base_name).name)
    file = shell_word("./" + main_name)
    run = f"{client} {CLIENT_OPTIONS} {shell_word(f'--database={name}')}"
    packet = packet_mebibytes(largest_statement)
    return f"""# Restoring {printable(backup["id"])}

What changed in the {label} database {printable(quote_identifier(name))} since the full backup
{printable(backup["parent"]["id"])}, up to {backup["snapshot"]["time"]}. With dbtool, which restores both in one go:

    dbtool restore PATH/{printable(main_name)} --into DATABASE

## Without dbtool

The full backup lies two folders above this one; its `RESTORE.md` says what is needed, and why these options are. In
this folder:

1. Make an empty database like the original:

       {client} -e {shell_word(create_statement(database))}

2. Run the full backup's script in it, then this one:

       zstd -dc {base_file} | {run}
       zstd -dc {file} | {run}

   Nobody may change the database between the two.{_EVENTS_SENTENCE if has_events else ""} Only the newest differential is
   needed: each one holds all that changed since the full backup.

Rows come and go in one transaction, but MySQL and MariaDB commit at each definition. If the second script is broken
off, **run it again from its beginning**: it may be run as often as you like, and the last whole run completes it. Meanwhile
triggers and events are not there, and foreign keys do not act.

The largest statement here has {size_text(largest_statement)}: the server's own `max_allowed_packet` must be at least
{packet} MiB. Besides what the full backup's script needs, the account needs the rights to drop what changed, to
`CREATE TEMPORARY TABLES` and to `DELETE`.
"""


_EVENTS_SENTENCE = (
    " The database has events: switch them off until both are done\n"
    "   (`SET GLOBAL event_scheduler = OFF;`), for the full backup's script ends by enabling them."
)
