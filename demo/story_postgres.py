"""The story on PostgreSQL: what is shown, in which order, with which words, and what has to come of it."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dbtool.servers.postgres import PostgresServer
from demo.picture_postgres import take_picture
from demo.steps import Story, private_file

if TYPE_CHECKING:
    from demo.picture import Picture
    from demo.stage import Stage

SHOP = Path(__file__).with_name("shop_postgres.sql")
SETTINGS = {"fsync": "off", "shared_buffers": "128MB", "max_wal_size": "2GB", "log_min_messages": "fatal"}
BY_HAND = (
    "createdb -T template0 shop_by_hand && zstd -dc backups/full_shop_*/shop_*.sql.zst"
    " | psql -X -q -v ON_ERROR_STOP=1 -o /dev/null shop_by_hand"
)
QUESTIONS = (
    "printf '%s\\n' 'SQL SELECT status, count(*) FROM sales.orders GROUP BY 1 ORDER BY 1'"
    " 'list -path backups'"
)
EXPORT = "'SQL SELECT id, name, email, credit FROM sales.customers ORDER BY id -extract -path exports'"
CHANGE_A_BYTE = (
    "cp -r backups rotten && file=$(echo rotten/full_shop_*/shop_*.sql.zst) && printf '\\377\\376'"
    ' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc status=none'
)
NO_CUSTOMER = (
    "id = (SELECT min(id) FROM sales.customers WHERE id NOT IN (SELECT customer_id FROM sales.orders))"
)
CUSTOMERS_WITHOUT_ORDERS = "id NOT IN (SELECT customer_id FROM sales.orders)"


class PostgresStory(Story):
    """dbtool from one end to the other."""

    engine = "postgres"
    client = "psql -X -q -At shop -c"

    def __init__(self, stage: Stage, server: PostgresServer) -> None:
        super().__init__(stage, server.connection("shop"), server.bin_directory)
        self.title = f"PostgreSQL {server.version} on port {server.port}"
        self._server = server

    @classmethod
    @contextmanager
    def begin(cls, stage: Stage) -> Iterator[PostgresStory]:
        """On a server of its own. `NotFoundError` without its programs."""
        with PostgresServer.start(settings=SETTINGS, authentication="scram-sha-256") as server:
            yield cls(stage, server)

    def look(self, database: str) -> Picture:
        """At a database, without dbtool."""
        return take_picture(self._server, database)

    def prepare(self, folder: Path) -> dict[str, str]:
        """The password for psql in the folder; the environment that the story's commands run in."""
        here = self.connection
        private_file(folder / ".pgpass", f"*:*:*:*:{here.password}\n")
        return {
            "PGHOST": str(here.host),
            "PGPORT": str(here.port),
            "PGUSER": str(here.user),
            "PGPASSFILE": str(folder / ".pgpass"),
            "PGOPTIONS": "-c client_min_messages=warning",
        }

    def tell(self) -> str:
        """The story, step by step; the verdict. Raises `DifferenceFoundError` or `CommandFailedError`."""
        before = self.load_shop()
        self.back_up("The schema and all rows, as they were at one single moment, into the folder 'backups'.")
        self.look_at_the_backup()
        self.ruin(before)
        self.restore_everything(before)
        self.restore_one_table(before)
        self.restore_by_hand(before)
        self.ask_and_export()
        self.damage_a_backup()
        self.remember_a_delete(
            (
                ("A customer wants to be forgotten …", f"DELETE FROM sales.customers WHERE {NO_CUSTOMER}"),
                ("… prices change …", "UPDATE sales.products SET price = price * 1.1 WHERE price < 20"),
                (
                    "… and there is a new table.",
                    "CREATE TABLE sales.gifts AS SELECT 'book' AS what, 7 AS left",
                ),
            ),
            "TRUNCATE sales.reviews; UPDATE sales.products SET price = 0",
        )
        return (
            f"{len(before.tables)} tables with {before.rows:,} rows, {len(before.sequences)} sequences and "
            f"{len(before.large_objects)} large objects went out and came back, the same to the last bit."
        )

    def load_shop(self) -> Picture:
        """A database with a bit of everything."""
        stage = self.stage
        stage.step("A shop's database")
        stage.say("Loading customers, products, orders, partitions, triggers, policies, odd names …")
        stage.capture(f"createdb -T template0 shop && psql -X -q -d shop -f {shlex.quote(str(SHOP))}")
        picture = self.look("shop")
        size = stage.capture(
            "psql -XAtc 'SELECT pg_size_pretty(pg_database_size(current_database()))' shop"
        ).strip()
        self.describe(picture, size, "the schema by pg_dump")
        return picture

    def look_at_the_backup(self) -> None:
        """list, ls, show, verify."""
        stage = self.stage
        stage.step("What is in the repository")
        stage.run("All backups.", "dbtool list --path backups")
        stage.run("A backup is a folder of ordinary files.", "ls -lh backups/full_shop_*/")
        stage.run("What dbtool knows of it.", "dbtool show latest --path backups")
        self.verify(
            "Is every byte still what was written? All checksums, frames and row counts are looked at."
        )

    def ruin(self, before: Picture) -> None:
        """Accidents that people have."""
        self.stage.step("The accident")
        self.stage.run(
            "A script that forgets the WHERE is refused by dbtool: nobody said that it may destroy.",
            f"echo 'SQL DELETE FROM sales.reviews' | {self.backup_line}",
            expect=9,
        )
        self.suffer(
            before,
            (
                ("psql asks nobody.", "UPDATE sales.products SET price = 0"),
                ("Rows are gone …", f"DELETE FROM sales.customers WHERE {CUSTOMERS_WITHOUT_ORDERS}"),
                ("… more of them …", "TRUNCATE sales.reviews"),
                ("… tables, with all that depends on them …", "DROP TABLE sales.order_items CASCADE"),
                ("… a whole schema …", 'DROP SCHEMA "odd names" CASCADE'),
                ("… and the large objects.", "SELECT count(lo_unlink(oid)) FROM pg_largeobject_metadata"),
            ),
        )

    def restore_everything(self, before: Picture) -> None:
        """The whole database, in place of the ruined one."""
        self.stage.step("Everything back")
        self.stage.run(
            "A database with tables in it is never overwritten unless --replace says so.",
            "dbtool restore latest --path backups --into shop",
            expect=9,
        )
        self.put_back(
            before,
            "It is restored beside the ruined one, compared with the backup, and only then swapped in.",
        )

    def restore_one_table(self, before: Picture) -> None:
        """A table that is gone."""
        self.stage.step("One table back")
        self.stage.run("Somebody drops the reviews.", self.client_line("DROP TABLE sales.reviews"))
        self.restore_table(before, "Only the frames of that table are read.", "sales.reviews")

    def restore_by_hand(self, before: Picture) -> None:
        """Without dbtool."""
        self.stage.step("Without dbtool")
        self.stage.run(
            "Every backup says how to restore it on a machine without dbtool.",
            "cat backups/full_*/RESTORE.md",
        )
        if shutil.which("zstd") is None:
            self.stage.say("The program zstd is not on this machine: what RESTORE.md says is not tried here.")
            return
        self.stage.run("The main file is a plain SQL script, compressed.", BY_HAND)
        self.compare("shop_by_hand", before)

    def ask_and_export(self) -> None:
        """The console's commands, piped in, and an export."""
        stage = self.stage
        stage.step("Questions and exports")
        stage.run(
            "Without a command at its end, that line opens a console; piped in, lines run one by one.",
            f"{QUESTIONS} | {self.backup_line}",
        )
        stage.run(
            "A result goes to a file as it streams in, however large.",
            f"mkdir exports && echo {EXPORT} | {self.backup_line}",
        )
        stage.run("CSV, as spreadsheets read it.", "head -n 4 exports/*.csv")

    def damage_a_backup(self) -> None:
        """A damaged backup is found out."""
        self.stage.step("A backup that rots")
        self.stage.run("Two bytes in the middle of a copy are changed.", CHANGE_A_BYTE)
        self.stage.run(
            "verify names the file, and a script sees exit code 6.",
            "dbtool verify latest --path rotten",
            expect=6,
        )
        self.stage.run(
            "A damaged backup is not restored.",
            "dbtool restore latest --path rotten --into from_rotten",
            expect=6,
        )
