"""The story on MariaDB, or MySQL: what is different there, and that all of it comes back."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dbtool.errors import NotFoundError
from dbtool.servers.mysql import LABELS, MysqlServer, find_mysql, flavour_of
from demo.picture_mariadb import take_picture
from demo.steps import Story, private_file

if TYPE_CHECKING:
    from demo.picture import Picture
    from demo.stage import Stage

SHOP = Path(__file__).with_name("shop_mariadb.sql")
SETTINGS = {
    "innodb_flush_log_at_trx_commit": "0",
    "innodb_doublewrite": "0",
    "innodb_buffer_pool_size": "128M",
    "max_allowed_packet": "64M",
    "server_id": "1",
    "log_bin": "binlog",
    "binlog_format": "ROW",
    "sync_binlog": "0",
    "event_scheduler": "OFF",
}
PLACE = "grep -E '\"binlog_(file|position)\"' nightly/full_*/metadata.json"
EXPORT = (
    "'SQL SELECT sku, name, price, details, flags FROM products ORDER BY name"
    " -extract -path exports -format jsonl'"
)


class MariadbStory(Story):
    """What is different there, and that all of it comes back."""

    engine = "mysql"

    def __init__(self, stage: Stage, server: MysqlServer) -> None:
        super().__init__(stage, server.connection("shop"), server.bin_directory)
        self.title = f"{LABELS[server.flavour_name]} {server.version} on port {server.port}"
        self.program = server.flavour_name  # the client, which has the same name
        self.client = f"{self.program} shop -e"
        self._server = server

    @classmethod
    @contextmanager
    def begin(cls, stage: Stage) -> Iterator[MariadbStory]:
        """On a server of its own. `NotFoundError` without its programs."""
        with MysqlServer.start(find_programs(), SETTINGS) as server:
            yield cls(stage, server)

    def look(self, database: str) -> Picture:
        """At a database, without dbtool."""
        return take_picture(self._server, database)

    def prepare(self, folder: Path) -> dict[str, str]:
        """How the server's own client reaches it, in the folder; the environment of the story's commands."""
        here = self.connection
        private_file(
            folder / ".my.cnf",
            f"[client]\nhost={here.host}\nport={here.port}\nuser={here.user}\ndefault-character-set=utf8mb4\n",
        )
        return {}

    def tell(self) -> str:
        """The story, step by step; the verdict. Raises `DifferenceFoundError` or `CommandFailedError`."""
        before = self.load_shop()
        self.back_up("The same command and the same files; no program of the server's is needed for it.")
        self.verify("And the same check of every byte.")
        self.ruin(before)
        self.stage.step("Everything back")
        self.put_back(before, "Restored beside the ruined one, compared, and swapped in by RENAME TABLE.")
        self.restore_one_table(before)
        self.restore_by_hand(before)
        self.back_up_all()
        self.export()
        past = ", the past of a table among them," if "SYSTEM VERSIONING" in before.schema else ""
        return (
            f"{len(before.tables)} tables with {before.rows:,} rows{past} went out and came back, "
            "the same to the last bit."
        )

    def load_shop(self) -> Picture:
        """A database with what MySQL and MariaDB have, and PostgreSQL has not."""
        stage = self.stage
        stage.step("The shop's database once more")
        stage.say("Loading JSON, ENUM and SET, generated columns, FULLTEXT and SPATIAL indexes, partitions,")
        stage.say(
            "triggers, routines, an event, a MyISAM table, a sequence, a table with its past, odd names …"
        )
        stage.capture(
            f"{self.program} -e 'CREATE DATABASE shop CHARACTER SET utf8mb4'"
            f" && {self.program} --comments shop <{shlex.quote(str(SHOP))}"
        )
        picture = self.look("shop")
        size = stage.capture(
            f'{self.program} -N -e "SELECT ROUND(SUM(DATA_LENGTH + INDEX_LENGTH) / 1048576) FROM'
            " information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'\""
        ).strip()
        self.describe(picture, f"{size} MB", "all that SHOW CREATE says")
        return picture

    def ruin(self, before: Picture) -> None:
        """Accidents again; here, what defines something cannot be rolled back."""
        self.stage.step("The accident")
        self.suffer(
            before,
            (
                (
                    "A trigger notes each of these changes, which makes it worse.",
                    "UPDATE products SET price = 0",
                ),
                ("DDL commits at once here …", "BEGIN; DROP TABLE order_items; ROLLBACK"),
                ("… so nothing of this can be taken back.", "DROP EVENT tidy_up; DROP FUNCTION revenue"),
                ("A column less.", "ALTER TABLE customers DROP COLUMN home"),
            ),
        )

    def restore_one_table(self, before: Picture) -> None:
        """A table that is there, but wrong, and that another one's foreign key hangs on."""
        self.stage.step("One table back, in the place of a wrong one")
        self.stage.run(
            "All reviews refer to this table; it has a trigger, generated columns, a FULLTEXT index.",
            self.client_line('UPDATE products SET name = "Lamp", photo = NULL, price = price + 0.0'),
        )
        self.restore_table(
            before,
            "The table is swapped, and the foreign keys of others go with it.",
            "products --replace --yes",
        )

    def restore_by_hand(self, before: Picture) -> None:
        """Without dbtool."""
        self.stage.step("Without dbtool")
        if shutil.which("zstd") is None:
            self.stage.say("The program zstd is not on this machine: what RESTORE.md says is not tried here.")
            return
        self.stage.run(
            "In short what RESTORE.md says. The script changes nothing of the server but the database.",
            f"{self.program} -e 'CREATE DATABASE shop_by_hand CHARACTER SET utf8mb4' && zstd -dc"
            f" backups/full_shop_*/shop_*.sql.zst | {self.program} --comments --binary-mode shop_by_hand",
        )
        self.compare("shop_by_hand", before)

    def back_up_all(self) -> None:
        """Every database of the server, at the same moment."""
        stage = self.stage
        stage.step("All databases, as they were at one moment")
        stage.run(
            "One snapshot for all of them, where PostgreSQL has one for each.",
            f"{self.backup_line} full database -all -exclude 'shop_*' -path nightly",
        )
        stage.run("Both backups know the same place in the binary log.", PLACE)

    def export(self) -> None:
        """A result as JSON lines."""
        self.stage.step("An export")
        self.stage.run(
            "Binary values come as hexadecimal numbers, decimals with all their digits.",
            f"mkdir exports && echo {EXPORT} | {self.backup_line}",
        )
        self.stage.run("JSON lines, for programs.", "head -n 2 exports/*.jsonl")


def find_programs() -> Path:
    """Where MariaDB's server and client are, else MySQL's. `NotFoundError` says what to install."""
    try:
        prefix = find_mysql("mariadb")
    except NotFoundError as missing:
        try:
            prefix = find_mysql("mysql")
        except NotFoundError:
            raise missing from None
    client = flavour_of(prefix)
    if not (prefix / "bin" / client).exists() and shutil.which(client) is None:
        raise NotFoundError(
            f"the program {client} was not found", f"install it (Debian: apt-get install {client}-client)"
        )
    return prefix
