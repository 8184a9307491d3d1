"""RESTORE.md of a differential: the base's script, then this one."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath
from typing import Any

from dbtool.engines.postgres.guide import create_command
from dbtool.engines.postgres.quoting import quote_identifier
from dbtool.text import printable

_DELETES = """
It was taken by a column of times (`-method timestamp`), which does not see deletes: rows that were deleted since the
full backup come back. `metadata.json` says under `warnings` which tables came whole or were left out.
"""


def differential_guide(
    main_name: str, backup: dict[str, Any], base_name: str, *, deletes_covered: bool = True
) -> str:
    """The text, with the real names. `base_name` is the stored name of the base's archive, which lies two
    folders above this one; `backup` is what the archive's index says of its backup."""
    database = backup["database"]
    name = printable(quote_identifier(database["name"]))
    server = backup["server"]["version"]
    base_file = shlex.quote("../../" + PurePosixPath(base_name).name)
    run = "psql -X -q -o /dev/null -v ON_ERROR_STOP=1 newdb"
    return f"""# Restoring {printable(backup["id"])}

What changed in the PostgreSQL {server} database {name} since the full backup {printable(backup["parent"]["id"])},
up to {backup["snapshot"]["time"]}. With dbtool, which restores both in one go:

    dbtool restore PATH/{printable(main_name)} --into DATABASE
{"" if deletes_covered else _DELETES}
## Without dbtool

The full backup lies two folders above this one; its `RESTORE.md` says what is needed. In this folder:

1. Make an empty database like the original:

       {create_command({**database, "name": "newdb"})}

2. Run the full backup's script in it, then this one:

       zstd -dc {base_file} | {run}
       zstd -dc {shlex.quote("./" + main_name)} | {run}

   The second is one transaction: it is applied as a whole or not at all.

3. Let the planner know the new rows:

       psql -X -q -c ANALYZE newdb

Nobody may have changed the database between the two. Only the newest differential is needed: each one holds all that
changed since the full backup. Triggers, rules and foreign keys do not act meanwhile. For that an account needs
to be allowed to set `session_replication_role`, or to own the tables: then they are dropped and made again,
which checks every foreign key and takes longer.
"""
