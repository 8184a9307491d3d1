"""A server that knows an extension of our own, with configuration tables. Nothing is installed for others.

PostgreSQL finds its share directory from where its program lies. So the program is copied, beside
links to all else of the installation, and the extension's two files are put there.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dbtool.servers import base

NAME = "awkward_config"

_CONTROL = """
comment = 'tables of settings, of which a dump takes only the user''s own'
default_version = '1.0'
relocatable = false
schema = 'awkward_config'
"""

# The child's name comes before its parent's: rows must be loaded by need, for the extension makes the key.
_SCRIPT = r"""
CREATE TABLE "settings ""parent" (id integer PRIMARY KEY, standard boolean NOT NULL DEFAULT false, note text);
INSERT INTO "settings ""parent" VALUES (1, true, 'of the extension'), (2, true, 'so too');
CREATE TABLE a_child (id integer REFERENCES "settings ""parent" (id), self integer, t text);
CREATE TABLE all_rows (id integer GENERATED ALWAYS AS IDENTITY, t text);
CREATE TABLE not_configuration (t text);
CREATE SEQUENCE counter;
CREATE FUNCTION answer() RETURNS integer LANGUAGE sql AS 'SELECT 42';
SELECT pg_catalog.pg_extension_config_dump('"settings ""parent"', 'WHERE NOT standard');
SELECT pg_catalog.pg_extension_config_dump('a_child', '');
SELECT pg_catalog.pg_extension_config_dump('all_rows', '');
SELECT pg_catalog.pg_extension_config_dump('counter', '');
"""


def installation_with_extension(bin_directory: Path) -> Path:
    """The `bin` of an installation that is as the given one, and has the extension."""
    root = base.scratch().folder()
    root.chmod(0o755)
    shown = base.run_tool([bin_directory / "initdb", "--show", "-D", root / "none"], root)
    share = Path(
        next(line for line in shown.splitlines() if line.startswith("share_path=")).partition("=")[2]
    )
    extensions = share / "extension"
    prefix = Path(os.path.commonpath([bin_directory, extensions]))
    opened = {bin_directory, extensions, *bin_directory.parents, *extensions.parents}
    _mirror(prefix, root / "prefix", opened)
    own_bin = root / "prefix" / bin_directory.relative_to(prefix)
    (own_bin / "postgres").unlink()
    shutil.copy2(bin_directory / "postgres", own_bin / "postgres")
    own_extensions = root / "prefix" / extensions.relative_to(prefix)
    (own_extensions / f"{NAME}.control").write_text(_CONTROL)
    (own_extensions / f"{NAME}--1.0.sql").write_text(_SCRIPT)
    return own_bin


def _mirror(source: Path, copy: Path, opened: set[Path]) -> None:
    """A copy of a folder's tree that consists of links, but for the folders in `opened`."""
    copy.mkdir()
    for entry in source.iterdir():
        if entry in opened:
            _mirror(entry, copy / entry.name, opened)
        else:
            (copy / entry.name).symlink_to(entry)
