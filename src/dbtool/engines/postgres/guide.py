"""RESTORE.md: how to restore a PostgreSQL backup on a machine that has never seen dbtool."""

from __future__ import annotations

import shlex
from typing import Any

from dbtool.engines.postgres.quoting import conninfo, quote_identifier, quote_literal
from dbtool.text import printable, shell_word

# The first minor of each major whose psql knows \restrict.
_RESTRICT_MINORS = "13.22, 14.19, 15.14, 16.10, 17.6 and every 18"


def restore_guide(main_name: str, backup: dict[str, Any], is_partial: bool, has_globals: bool) -> str:
    """The text, with the real names. `backup` is what the archive's index says of its backup."""
    database = backup["database"]
    name = database["name"]
    server = backup["server"]["version"]
    clients = ", ".join(f"{client['program']} {client['version']}" for client in backup["clients"])
    file = shlex.quote(main_name if not main_name.startswith("-") else f"./{main_name}")
    target = shell_word(conninfo(name) if _is_special(name) else name)
    what = "Some tables" if is_partial else "A full logical backup"
    return f"""# Restoring {printable(backup["id"])}

{what} of the PostgreSQL {server} database {printable(quote_identifier(name))}, as it was at {backup["snapshot"]["time"]}.
The schema was written by {clients}.

`{printable(main_name)}` is an ordinary zstd file that decodes to one SQL script. With dbtool:

    dbtool restore PATH/{printable(main_name)} --into DATABASE

## Without dbtool

You need `zstd` and PostgreSQL's `psql`. The script begins with `\\restrict`, which psql knows from {_RESTRICT_MINORS};
with an older psql, leave out the two lines that begin with `\\restrict` and `\\unrestrict`.

1. Roles and tablespaces belong to the server, not to the database. {_roles_sentence(has_globals)}
2. Make an empty database like the original:

       {create_command(database)}

3. Run the script in it. It stops at the first error, and psql then exits with 3. (psql does not notice a file that
   is cut off: `zstd -t` does, see below.)

       zstd -dc {file} | psql -X -q -o /dev/null -v ON_ERROR_STOP=1 {target}

4. Let the planner know the new tables:

       psql -X -q -c ANALYZE {target}

To have all or nothing, add `--single-transaction` to step 3. The database may have another name: in step 2 it stands
in double quotes, in steps 3 and 4 as one word of the shell's. A name that begins with `-`, or has `=` or `://` in it,
is said there as `"dbname='NAME'"`.

## Looking inside

    zstd -dc {file} | less
    zstd -t {file}          # checks every checksum

`schema.sql` is the schema alone. `metadata.json` holds the row count and a digest of every table, and the SHA-256 of
every file here.
"""


def _roles_sentence(has_globals: bool) -> str:
    if has_globals:
        return (
            "Objects are given to their owners, so the roles\n"
            "   must exist. `globals.sql` makes them, with their passwords where they could be read:\n\n"
            "       psql -X -f globals.sql postgres\n\n"
            "   **Read it before.** Roles that are there already are an error that psql passes over, but it then\n"
            "   sets their attributes, memberships and passwords to what they were on the old server: the\n"
            "   superuser's too. `dbtool restore --globals` makes what is missing and leaves the rest as it is.\n"
        )
    return "Objects are given to their owners, so the\n   roles must exist; they are not in this backup."


def create_command(database: dict[str, Any]) -> str:
    """The shell command that makes an empty database like the original."""
    return f"psql -X -c {shell_word(create_database_sql(database, database['name']))} postgres"


def create_database_sql(
    database: dict[str, Any], name: str, with_owner: bool = False, rules: bool = True
) -> str:
    """`CREATE DATABASE` with the encoding and locale of a backed-up database."""
    locale = database["locale"]
    parts = [
        f"CREATE DATABASE {quote_identifier(name)} TEMPLATE template0",
        f"ENCODING {quote_literal(database['encoding'])}",
    ]
    if locale["provider"] != "libc":
        parts.append(f"LOCALE_PROVIDER {locale['provider']}")
    parts += [f"LC_COLLATE {quote_literal(locale['collate'])}", f"LC_CTYPE {quote_literal(locale['ctype'])}"]
    if locale["provider"] == "icu" and locale["locale"]:
        parts.append(f"ICU_LOCALE {quote_literal(locale['locale'])}")
        if locale["icu_rules"] and rules:
            parts.append(f"ICU_RULES {quote_literal(locale['icu_rules'])}")
    elif locale["provider"] == "builtin" and locale["locale"]:
        parts.append(f"BUILTIN_LOCALE {quote_literal(locale['locale'])}")
    if with_owner:
        parts.append(f"OWNER {quote_identifier(database['owner'])}")
    return " ".join(parts)


def _is_special(name: str) -> bool:
    """Whether psql would take the name for an option, a connection string or a URL, or `shell_word` could
    lose a line break at its end."""
    return name.startswith("-") or "=" in name or "://" in name or printable(name) != name
