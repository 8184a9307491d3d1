"""Say, after an installation, what it lacks; exit 1 where there are no PostgreSQL server programs."""

from __future__ import annotations

import sys

from dbtool.errors import NotFoundError
from dbtool.rows import is_native
from dbtool.servers.postgres import find_server_bin

if not is_native:
    sys.stderr.write("note: the C part was not built; its pure-Python twin is used, which is slower\n")
try:
    find_server_bin()
except NotFoundError:
    sys.exit(1)
