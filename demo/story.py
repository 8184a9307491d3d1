"""The demo's story: what is shown, in which order, with which words, and what has to come of it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from demo.picture import Picture, take_picture

if TYPE_CHECKING:
    from dbtool.servers.postgres import PostgresServer
    from demo.stage import Stage

SHOP = Path(__file__).with_name("shop.sql")
BACKUP = "dbtool backup --db postgres --database shop --storage local --config file"
BY_HAND = (
    "createdb -T template0 shop_by_hand && zstd -dc backups/full_shop_*/shop_*.sql.zst"
    " | psql -X -q -v ON_ERROR_STOP=1 -o /dev/null shop_by_hand"
)
QUESTIONS = (
    "printf '%s\\n' 'SQL SELECT status, count(*) FROM sales.orders GROUP BY 1 ORDER BY 1'"
    " 'list -path backups' | " + BACKUP
)
EXPORT = "'SQL SELECT id, name, email, credit FROM sales.customers ORDER BY id -extract -path exports'"
CHANGE_A_BYTE = (
    "cp -r backups rotten && file=$(echo rotten/full_shop_*/shop_*.sql.zst) && printf '\\377\\376'"
    ' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc status=none'
)
CUSTOMERS_WITHOUT_ORDERS = "id NOT IN (SELECT customer_id FROM sales.orders)"


class DifferenceFoundError(Exception):
    """What came back is not what went out."""


def tell(stage: Stage, server: PostgresServer) -> str:
    """The story, step by step; the verdict. Raises `DifferenceFoundError` or `CommandFailedError`."""
    before = load_shop(stage, server)
    back_up(stage)
    look_at_the_backup(stage)
    ruin(stage, server, before)
    restore_everything(stage, server, before)
    restore_one_table(stage, server, before)
    restore_by_hand(stage, server, before)
    ask_and_export(stage)
    damage_a_backup(stage)
    return (
        f"{len(before.tables)} tables with {before.rows:,} rows, {len(before.sequences)} sequences and "
        f"{len(before.large_objects)} large objects went out and came back, the same to the last bit."
    )


def load_shop(stage: Stage, server: PostgresServer) -> Picture:
    """A database with a bit of everything."""
    stage.step("A shop's database")
    stage.say(f"PostgreSQL {server.version} runs on port {server.port}, for this demo alone.")
    stage.say("Loading customers, products, orders, partitions, triggers, policies, odd names …")
    stage.capture(f"createdb -T template0 shop && psql -X -q -d shop -f {shlex.quote(str(SHOP))}")
    picture = take_picture(server, "shop")
    size = stage.capture(
        "psql -XAtc 'SELECT pg_size_pretty(pg_database_size(current_database()))' shop"
    ).strip()
    stage.say(f"{len(picture.tables)} tables, {picture.rows:,} rows, {size}.")
    stage.say("A picture of it was taken without dbtool, for later: the schema by pg_dump, and")
    stage.say("a digest of the rows of every table by SQL.")
    stage.run("How to reach the server stands in .env, where dbtool is started.", "grep -v PASSWORD .env")
    return picture


def back_up(stage: Stage) -> None:
    """One full backup."""
    stage.step("A full backup")
    stage.run(
        "The schema and all rows, as they were at one single moment, into the folder 'backups'.",
        f"{BACKUP} full database -path backups -label demo -method logical",
    )


def look_at_the_backup(stage: Stage) -> None:
    """list, ls, show, verify."""
    stage.step("What is in the repository")
    stage.run("All backups.", "dbtool list --path backups")
    stage.run("A backup is a folder of ordinary files.", "ls -lh backups/full_shop_*/")
    stage.run("What dbtool knows of it.", "dbtool show latest --path backups")
    stage.run(
        "Is every byte still what was written? All checksums, frames and row counts are looked at.",
        "dbtool verify latest --path backups",
    )


def ruin(stage: Stage, server: PostgresServer, before: Picture) -> None:
    """Accidents that people have."""
    stage.step("The accident")
    stage.run(
        "A script that forgets the WHERE is refused by dbtool: nobody said that it may destroy.",
        f"echo 'SQL DELETE FROM sales.reviews' | {BACKUP}",
        expect=9,
    )
    stage.run("psql asks nobody.", psql("UPDATE sales.products SET price = 0"))
    stage.run("Rows are gone …", psql(f"DELETE FROM sales.customers WHERE {CUSTOMERS_WITHOUT_ORDERS}"))
    stage.run("… more of them …", psql("TRUNCATE sales.reviews"))
    stage.run("… tables, with all that depends on them …", psql("DROP TABLE sales.order_items CASCADE"))
    stage.run("… a whole schema …", psql('DROP SCHEMA "odd names" CASCADE'))
    stage.run("… and the large objects.", psql("SELECT count(lo_unlink(oid)) FROM pg_largeobject_metadata"))
    found = before.differences(take_picture(server, "shop"))
    stage.bad(f"{len(found)} differences from the picture, such as:")
    for line in [line for line in found if line.startswith("table")][:4]:
        stage.say("  " + line[:110])


def restore_everything(stage: Stage, server: PostgresServer, before: Picture) -> None:
    """The whole database, in place of the ruined one."""
    stage.step("Everything back")
    stage.run(
        "A database with tables in it is never overwritten unless --replace says so.",
        "dbtool restore latest --path backups --into shop",
        expect=9,
    )
    stage.run(
        "It is restored beside the ruined one, compared with the backup, and only then swapped in.",
        "dbtool restore latest --path backups --into shop --replace --yes",
    )
    compare(stage, "shop", before, take_picture(server, "shop"))


def restore_one_table(stage: Stage, server: PostgresServer, before: Picture) -> None:
    """A single table, out of the same backup."""
    stage.step("One table back")
    stage.run("Somebody drops the reviews.", psql("DROP TABLE sales.reviews"))
    stage.run(
        "Only the frames of that table are read.",
        "dbtool restore latest --path backups --into shop --tables sales.reviews",
    )
    compare(stage, "shop", before, take_picture(server, "shop"))


def restore_by_hand(stage: Stage, server: PostgresServer, before: Picture) -> None:
    """Without dbtool."""
    stage.step("Without dbtool")
    stage.run(
        "Every backup says how to restore it on a machine without dbtool.", "cat backups/full_*/RESTORE.md"
    )
    if shutil.which("zstd") is None:
        stage.say("The program zstd is not on this machine: what RESTORE.md says is not tried here.")
        return
    stage.run("The main file is a plain SQL script, compressed.", BY_HAND)
    compare(stage, "shop_by_hand", before, take_picture(server, "shop_by_hand"))


def ask_and_export(stage: Stage) -> None:
    """The console's commands, piped in, and an export."""
    stage.step("Questions and exports")
    stage.run(
        "Without a command at its end, that line opens a console; piped in, lines run one by one.",
        QUESTIONS,
    )
    stage.run(
        "A result goes to a file as it streams in, however large.",
        f"mkdir exports && echo {EXPORT} | {BACKUP}",
    )
    stage.run("CSV, as spreadsheets read it.", "head -n 4 exports/*.csv")


def damage_a_backup(stage: Stage) -> None:
    """A damaged backup is found out."""
    stage.step("A backup that rots")
    stage.run("Two bytes in the middle of a copy are changed.", CHANGE_A_BYTE)
    stage.run(
        "verify names the file, and a script sees exit code 6.",
        "dbtool verify latest --path rotten",
        expect=6,
    )
    stage.run(
        "A damaged backup is not restored.",
        "dbtool restore latest --path rotten --into from_rotten",
        expect=6,
    )


def psql(statement: str) -> str:
    """The shell command that runs a statement in the shop."""
    return f"psql -X -q -At shop -c {shlex.quote(statement)}"


def compare(stage: Stage, database: str, before: Picture, after: Picture) -> None:
    """Say whether the database is what it was; `DifferenceFoundError` if it is not."""
    found = before.differences(after)
    if found:
        for line in found[:20]:
            stage.bad(line[:200])
        raise DifferenceFoundError(f"the database {database} is not what it was: {len(found)} differences")
    stage.good(f"{database} is what it was: schema, {after.rows:,} rows, sequences, large objects")
