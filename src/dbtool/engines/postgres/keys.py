"""Primary and unique keys made in two steps: the index, beside others on its table, then the key from it.

ALTER TABLE … ADD PRIMARY KEY locks the table for as long as the index takes; CREATE UNIQUE INDEX lets
other indexes of the table be built meanwhile. The result is the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: The `detail` of the task that makes only the index of a key.
INDEX_OF_KEY = "index of the key"

_NAME = rb'(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_]*)'
_NAMES = _NAME + rb"(?:, " + _NAME + rb")*"
# As pg_dump writes it; what is not written so, such as WITHOUT OVERLAPS, is no matter for us.
_KEY = re.compile(
    rb"ALTER TABLE ONLY (?P<table>" + _NAME + rb"\." + _NAME + rb")\n"
    rb"    ADD CONSTRAINT (?P<name>"
    + _NAME
    + rb") (?P<kind>PRIMARY KEY|UNIQUE)(?P<nulls> NULLS NOT DISTINCT)? "
    rb"\((?P<columns>" + _NAMES + rb")\)(?P<include> INCLUDE \(" + _NAMES + rb"\))?"
    rb"(?P<options> WITH \([a-z_]+='?[a-z0-9]+'?(?:, [a-z_]+='?[a-z0-9]+'?)*\))?"
    rb"(?P<deferral>(?: DEFERRABLE)?(?: INITIALLY DEFERRED)?);\n"
)


@dataclass(frozen=True)
class KeyInSteps:
    """The statement that makes the index, and what makes the key of it (with all that followed)."""

    index: bytes
    key: bytes


def in_steps(sql: bytes) -> KeyInSteps | None:
    """The two steps of a key's definition, or None where it can only be made at once."""
    found = _KEY.match(sql)
    if found is None:
        return None
    part = {name: text or b"" for name, text in found.groupdict().items()}
    index = (
        b"CREATE UNIQUE INDEX " + part["name"] + b" ON " + part["table"] + b" USING btree (" + part["columns"] + b")"
        + part["include"] + part["nulls"] + part["options"] + b";\n"
    )  # fmt: skip
    key = (
        b"ALTER TABLE ONLY " + part["table"] + b"\n    ADD CONSTRAINT " + part["name"] + b" " + part["kind"]
        + b" USING INDEX " + part["name"] + part["deferral"] + b";\n"
    )  # fmt: skip
    return KeyInSteps(index, key + sql[found.end() :])
