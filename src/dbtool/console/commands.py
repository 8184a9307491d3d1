"""The commands of this version: what they are called, what they take, what help says of them."""

from __future__ import annotations

from dbtool.config.known import TLS_MODES
from dbtool.console.grammar import Command, Kind, Operand, Option

JSON = Option("json", "print one JSON document on stdout")
YES = Option("yes", "do not ask: yes, it may destroy")
REPOSITORY = Option("path", "the repository", Kind.FOLDER, "REPO")
JOBS = Option("jobs", "how many connections work at once", Kind.NUMBER, "N", minimum=1, maximum=64)
BACKUP_OPERAND = Operand("ID|latest", Kind.BACKUP, "the id of a backup, latest, or the path of an archive")

_HOW = (
    JOBS,
    Option("level", "zstd's compression level", Kind.NUMBER, "N", minimum=1, maximum=19),
    Option("label", "a text of yours, kept with the backup", Kind.TEXT, "TEXT"),
    Option(
        "lock-timeout",
        "how long to wait for a table that somebody has locked",
        Kind.NUMBER,
        "SECONDS",
        maximum=86400,
    ),
    Option("allow-invalid-text", "MySQL: keep text that is not valid in its own character set"),
    JSON,
)
_FULL = (
    REPOSITORY,
    Option("method", "how: only logical in this version", Kind.CHOICE, "METHOD", ("logical", "physical")),
    *_HOW,
)
_RESTORE = (
    Option(
        "into", "the database to restore into; it is created if it is not there", Kind.DATABASE, "DATABASE"
    ),
    REPOSITORY,
    Option("tables", "only these tables, and what they need", Kind.TABLE, "T", many=True),
    Option("replace", "the target may hold tables: they are replaced at the end, by a swap"),
    Option("no-owner", "everything belongs to the account that restores"),
    Option(
        "definer",
        "MySQL: what ran in OLD's name runs in NEW's; * is any other",
        Kind.TEXT,
        "OLD@HOST=NEW@HOST",
        many=True,
    ),
    Option("no-privileges", "leave out GRANT and REVOKE"),
    Option("globals", "restore roles and tablespaces, or users, too"),
    JOBS,
    Option("no-compare", "do not compare content digests afterwards"),
    Option("dry-run", "say what would be done, and do nothing"),
    YES,
    JSON,
)
_RESTORE_LATER = (
    "to-time", "to-lsn", "to-xid", "to-name", "to-immediate", "to-gtid", "to-position",
    "target-dir", "timeline", "tablespace-map", "delta", "start",
)  # fmt: skip

LIST = Command(
    ("list",), "list the backups of a repository", (REPOSITORY, JSON), examples=("list", "list -json")
)
SHOW = Command(
    ("show",),
    "show all that is known about one backup",
    (REPOSITORY, JSON),
    BACKUP_OPERAND,
    examples=("show latest", "show full_mydb_20251101_120000_a1b2"),
)
VERIFY = Command(
    ("verify",),
    "read backups back: every byte, frame and count",
    (
        Option("all", "every backup of the repository"),
        Option("no-chain", "of a differential: not its full too"),
        JOBS,
        REPOSITORY,
        JSON,
    ),
    Operand(
        "ID|latest", Kind.BACKUP, "the id of a backup, latest, or the path of an archive", required=False
    ),
    examples=("verify latest", "verify -all"),
    later=("drill", "budget"),
)
RESTORE = Command(
    ("restore",),
    "restore a backup, or some of its tables, into a database",
    _RESTORE,
    BACKUP_OPERAND,
    examples=(
        "restore latest -into mydb_copy",
        "restore latest -into mydb -tables users orders -replace",
    ),
    later=_RESTORE_LATER,
)
DOCTOR = Command(
    ("doctor",),
    "what works here, what is missing, and what mends it",
    (REPOSITORY, JSON),
    examples=("doctor",),
)
CATALOG_REBUILD = Command(
    ("catalog", "rebuild"),
    "make backup_catalog.json again from the backups themselves",
    (REPOSITORY, JSON),
    examples=("catalog rebuild",),
)
CONFIG_SHOW = Command(
    ("config", "show"),
    "show every setting and where it came from; no secrets",
    (JSON,),
    examples=("config show",),
)
FULL_DATABASE = Command(
    ("full", "database"),
    "back up the whole database",
    (
        *_FULL[:2],
        Option("all", "every database of the server"),
        Option("exclude", "with -all: leave out databases that match", Kind.TEXT, "PATTERN", many=True),
        *_FULL[2:],
    ),
    examples=("full database -path /path/to/backups", "full database -all -exclude 'test*'"),
)
FULL_TABLES = Command(
    ("full", "tables"),
    "back up some tables, and what they need",
    (
        Option("tablename", "a table, schema.table, or a pattern with * and ?", Kind.TABLE, "T", many=True),
        *_FULL,
    ),
    examples=("full tables -tablename users -tablename orders -path /path/to/backups",),
)
DIFFERENTIAL_BACKUP = Command(
    ("differential", "backup"),
    "back up what changed since the newest full backup",
    (
        REPOSITORY,
        Option("base", "the full to build upon; the newest unless said", Kind.FULL_BACKUP, "ID"),
        Option(
            "method",
            "how changes are found: auto unless said",
            Kind.CHOICE,
            "METHOD",
            ("auto", "rows", "timestamp", "blocks"),
        ),
        Option("column", "with -method timestamp: the column of last changes", Kind.COLUMN, "C"),
        Option("only-changed", "with -method timestamp: leave out tables without the column"),
        Option("max-differentials", "so many of one full; then a full is taken", Kind.NUMBER, "N", minimum=1),
        Option("max-chain-age", "if the full is older (12h, 7d), a full is taken", Kind.TEXT, "D"),
        Option(
            "max-differential-ratio",
            "if the last one was larger than this share of the full, a full is taken",
            Kind.TEXT,
            "R",
        ),
        *_HOW,
    ),
    examples=(
        "differential backup",
        "differential backup -base full_mydb_20251101_120000_a1b2",
        "differential backup -method timestamp -column updated_at",
    ),
    notes="Inserted, changed and deleted rows are found without any demand on the tables. Where there is\n"
    "no full to build upon, or what changed cannot be told exactly, a full is taken, and why is said.\n"
    "-method timestamp sees only rows whose column has changed, and no deletes. -method blocks is\n"
    "for physical fulls, which are not in this version.",
)
_EXTRACT = Option("extract", "write the result to a file instead of showing it")
_FORMAT = Option(
    "format", "the form of the file: csv unless said", Kind.CHOICE, "FORMAT", ("csv", "tsv", "jsonl")
)
SQL = Command(
    ("sql",),
    "run SQL; with -extract, write the result to a file",
    (_EXTRACT, Option("path", "the folder of the file", Kind.FOLDER, "DIR"), _FORMAT, YES, JSON),
    takes_rest=True,
    examples=(
        "SQL SELECT * FROM users WHERE id < 100",
        "SQL SELECT id, email FROM users WHERE is_active -extract -path /tmp/exports",
    ),
    notes="Options stand at the very end. No ; is needed. Enter runs a statement that is complete,\n"
    "Alt-Enter adds a line. SQL that destroys (DROP, TRUNCATE, DELETE, UPDATE without WHERE, …)\n"
    "asks first.",
)
HELP = Command(
    ("help",),
    "explain the commands, or one of them",
    operand=Operand("COMMAND", Kind.COMMAND, "a command", required=False),
    takes_rest=True,
    examples=("help", "help full database"),
)
EXIT = Command(("exit",), "leave the console (also: quit, Ctrl-D)")

CONSOLE = (
    FULL_DATABASE, FULL_TABLES, DIFFERENTIAL_BACKUP, LIST, SHOW, VERIFY, RESTORE, SQL, DOCTOR,
    CATALOG_REBUILD, CONFIG_SHOW, HELP, EXIT,
)  # fmt: skip

CONNECTION = (
    Option("db", "the kind of server; mysql is MariaDB too", Kind.CHOICE, "ENGINE", ("postgres", "mysql")),
    Option("database", "the database", Kind.DATABASE, "NAME"),
    Option("host", "the server's name, address, or folder with its socket", Kind.TEXT, "HOST"),
    Option("port", "the server's port", Kind.NUMBER, "PORT", minimum=1, maximum=65535),
    Option("user", "the account", Kind.TEXT, "USER"),
    Option("password", "its password; others on this machine can see it here", Kind.TEXT, "PASSWORD"),
    Option("tls-mode", "how much TLS, in libpq's words", Kind.CHOICE, "MODE", TLS_MODES),
    Option(
        "tls-root-certificate",
        "the authority that must have signed the server's certificate",
        Kind.TEXT,
        "FILE",
    ),
    Option("profile", "a profile of dbtool.toml", Kind.TEXT, "NAME"),
)
_PROFILE = CONNECTION[-1]
DEBUG = Option("debug", "show the traceback of an error")

BACKUP = Command(
    ("backup",),
    "open the console, or run one of its commands (ACTION), or those piped in",
    (
        *CONNECTION,
        Option("storage", "where backups go", Kind.CHOICE, "KIND", ("local", "s3", "gcs", "azure", "sftp")),
        Option(
            "config",
            "file: settings from .env, dbtool.toml, the environment; manual: from these options alone",
            Kind.CHOICE,
            "HOW",
            ("file", "manual"),
        ),
        REPOSITORY,
        YES,
        JSON,
        DEBUG,
    ),
    takes_rest=True,
    examples=(
        "dbtool backup --db postgres --database mydb --storage local --config file",
        "dbtool backup --db postgres --database mydb --config file full database -path /backups",
        "dbtool backup --db mysql --database shop --config file full database -path /backups",
        "echo 'full database' | dbtool backup --db postgres --database mydb --config file --path /backups",
    ),
    is_script=True,
)
SQL_SCRIPT = Command(
    ("sql",),
    SQL.summary,
    (
        Option("c", "the statement", Kind.TEXT, "STATEMENT"),
        _EXTRACT,
        Option("output", "the folder of the file", Kind.FOLDER, "DIR"),
        _FORMAT,
        YES,
        JSON,
        *CONNECTION,
        DEBUG,
    ),
    examples=(
        "dbtool sql --database mydb -c 'SELECT count(*) FROM users'",
        "dbtool sql --database mydb -c 'SELECT * FROM users' --extract --output /tmp/exports",
    ),
    is_script=True,
)


def _script(command: Command, *options: Option) -> Command:
    """A console command as a verb of the command line."""
    return Command(
        command.words,
        command.summary,
        (*command.options, *options, DEBUG),
        command.operand,
        examples=tuple(f"dbtool {example}".replace(" -", " --") for example in command.examples),
        notes=command.notes,
        later=command.later,
        is_script=True,
    )


SCRIPT = (
    BACKUP,
    _script(LIST, *CONNECTION),
    _script(SHOW, *CONNECTION),
    _script(VERIFY, *CONNECTION),
    _script(RESTORE, *CONNECTION),
    _script(DOCTOR, *CONNECTION),
    SQL_SCRIPT,
    _script(CATALOG_REBUILD, *CONNECTION),
    _script(CONFIG_SHOW, *CONNECTION),
)

# Commands of the design that this version does not have yet: they are refused by name.
LATER = (
    "incremental", "drill", "expire", "logs", "copy", "keep", "diff", "open", "timeline",
    "key", "demo",
)  # fmt: skip
