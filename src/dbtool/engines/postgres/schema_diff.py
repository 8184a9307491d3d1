"""What turns the schema of a full backup into that of a later snapshot, object by object.

Objects are compared by their SQL as pg_dump writes it. What changed is dropped and made again, and so
is all that depends on it, as far as PostgreSQL records dependencies. Nothing is dropped by CASCADE: what hangs on an object
that the backup does not know of stops the script.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dbtool.errors import NeedsFullError
from dbtool.model.archive import FrameKind, SchemaObject

# These say something about another object, and can be taken back by saying something else.
_REMARKS = frozenset({"COMMENT", "SECURITY LABEL"})
_PRIVILEGES = frozenset({"ACL", "DEFAULT ACL"})
_SOFT = _REMARKS | _PRIVILEGES
_KEYS = frozenset({"INDEX", "CONSTRAINT"})
# Kinds that have no DROP of their own, and whose object goes in their stead.
_STANDS_FOR = {"TABLE ATTACH": "TABLE", "SEQUENCE OWNED BY": "SEQUENCE"}

_REMARK = re.compile(
    rb'((?:COMMENT|SECURITY LABEL)\b(?:"(?:[^"]|"")*"|[^"\'])*? IS )(?:NULL|[^;].*);\s*\Z', re.DOTALL
)
_STATEMENT = re.compile(rb'(?:"(?:[^"]|"")*"|[^";])+;\n?')
_GRANT = re.compile(
    rb"((?:ALTER DEFAULT PRIVILEGES .*?)?)\b(GRANT|REVOKE) (?!GRANT OPTION)(.*) (?:TO|FROM) "
    rb'("(?:[^"]|"")*"|[^\s"]+)(?: WITH GRANT OPTION)?;\Z',
    re.DOTALL,
)


@dataclass(frozen=True)
class Item:
    """A schema object with its SQL and the kind of frame that it belongs in."""

    kind: FrameKind
    entry: SchemaObject
    sql: bytes

    @property
    def number(self) -> int:
        """The object's number in its own archive."""
        return self.entry.number

    @property
    def key(self) -> tuple[str, str, str]:
        """What stays the same when the object is changed."""
        return self.entry.kind, self.entry.schema, self.entry.name

    @property
    def definition(self) -> bytes:
        """The SQL without the owner's statement."""
        return self.sql[: self.entry.owner_offset].strip()

    @property
    def content(self) -> tuple[object, ...]:
        """Two objects are the same if this is."""
        return self.sql.strip(), self.entry.tablespace or "", self.entry.access_method


@dataclass
class SchemaChange:
    """What leads from the base's schema to the new one.

    `statements` come first, in order: they drop, and take back. `created` are the numbers of new
    objects to make; all others are there already. `new_tables` holds the OIDs of tables that are made,
    and so are empty.
    """

    statements: list[bytes] = field(default_factory=list)
    created: set[int] = field(default_factory=set)
    new_tables: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.statements or self.created)


def compare_schemas(
    base: Sequence[Item], new: Sequence[Item], codec: str, also: Callable[[Item], bool] = lambda _: False
) -> SchemaChange:
    """What leads from `base` to `new`, both in their scripts' order; objects of the base that `also` is
    true of are dropped and made again in any case.

    Raises `NeedsFullError` with the reason where SQL cannot say it.
    """
    return _Comparison(base, new, codec, also).result()


class _Comparison:
    def __init__(
        self, base: Sequence[Item], new: Sequence[Item], codec: str, also: Callable[[Item], bool]
    ) -> None:
        self._codec = codec
        self._base = base
        self._new = new
        self._base_by = {item.number: item for item in base}
        self._new_by = {item.number: item for item in new}
        self._dependants: dict[int, list[int]] = defaultdict(list)
        for item in base:
            for need in item.entry.needs:
                self._dependants[need].append(item.number)
        self._attachments = _attachments(base)
        self._twins, self._new_owners = _pair(base, new)
        self._dropped: set[int] = set()
        self._created = {item.number for item in new} - set(self._twins.values())
        for item in base:
            if (item.number not in self._twins and item.entry.kind not in _SOFT) or also(item):
                self._drop(item.number)
        self._settle()
        if any(self._new_by[number].entry.kind not in _SOFT for number in self._created):
            # What is made now must not get privileges that are the default only afterwards.
            for item in base:
                if item.entry.kind == "DEFAULT ACL":
                    self._created |= {self._twins.pop(item.number)} if item.number in self._twins else set()

    def _drop(self, number: int) -> None:
        """The object goes, with all that depends on it; what is unchanged of that comes again."""
        waiting = [number]
        while waiting:
            one = waiting.pop()
            if one in self._dropped or one not in self._base_by:
                continue
            self._dropped.add(one)
            if one in self._twins:
                self._created.add(self._twins.pop(one))
            waiting += self._dependants[one]
            waiting += self._instead(self._base_by[one])

    def _instead(self, item: Item) -> Iterable[int]:
        """Objects that go along because they cannot stay behind."""
        wanted = _STANDS_FOR.get(item.entry.kind)
        if wanted:
            names = (item.entry.schema, item.entry.name)
            for need in item.entry.needs:
                other = self._base_by.get(need)
                if other and other.entry.kind == wanted and (other.entry.schema, other.entry.name) == names:
                    yield need
        if item.number in self._attachments and not self._is_table_dropped(item):
            yield self._attachments[item.number]  # a partition's index goes only with that of the whole

    def _is_table_dropped(self, item: Item) -> bool:
        return any(
            need in self._dropped and self._base_by[need].entry.kind == "TABLE" for need in item.entry.needs
        )

    def _settle(self) -> None:
        """What stays must not depend on what is only made now."""
        while True:
            late = [
                number
                for number, twin in self._twins.items()
                if self._created & set(self._new_by[twin].entry.needs)
                and self._base_by[number].entry.kind not in _SOFT
            ]
            if not late:
                return
            for number in late:
                self._drop(number)

    # ---- statements ----------------------------------------------------------------------------

    def result(self) -> SchemaChange:
        change = SchemaChange(created=self._created)
        replaced = {self._new_by[number].key for number in self._created}
        taken_back = [
            statement
            for item in reversed(self._base)
            if item.number not in self._twins and item.entry.kind in _SOFT and self._outlives(item)
            for statement in _take_back(item, item.key in replaced)
        ]
        # Event triggers first: they would act on all that follows.
        leaving = [item for item in reversed(self._base) if item.number in self._dropped]
        acting = [item for item in leaving if item.entry.kind == "EVENT TRIGGER"]
        drops = [self._drop_statement(item) for item in leaving if item not in acting]
        owners = [
            self._new_by[twin].sql[self._new_by[twin].entry.owner_offset :]
            for number, twin in self._twins.items()
            if number in self._new_owners
        ]
        change.statements = [
            *(self._drop_statement(item) for item in acting),
            *taken_back,
            *(statement for statement in drops if statement),
            *owners,
        ]
        change.new_tables = {
            self._new_by[number].entry.identity
            for number in self._created
            if self._new_by[number].entry.kind == "TABLE"
        }
        return change

    def _outlives(self, item: Item) -> bool:
        """Whether what it speaks of stays."""
        return item.number not in self._dropped

    def _drop_statement(self, item: Item) -> bytes:
        kind, name = item.entry.kind, f"{item.entry.schema}.{item.entry.name}".lstrip(".")
        if kind in _SOFT or kind in _STANDS_FOR or kind == "INDEX ATTACH":
            return b""
        if kind in _KEYS and (self._is_table_dropped(item) or item.number in self._attachments):
            return b""  # goes with the table, or with the whole's index
        if kind == "SHELL TYPE" or (kind == "TYPE" and self._has_shell(item)):
            raise NeedsFullError(f"the base type {name} was changed")
        if kind == "ROW SECURITY":
            if self._is_table_dropped(item):
                return b""
            return (
                item.definition.replace(b" ENABLE ROW LEVEL SECURITY", b" DISABLE ROW LEVEL SECURITY") + b"\n"
            )
        if item.entry.drop:
            return item.entry.drop.encode(self._codec, "surrogateescape") + b"\n"
        if any(need in self._dropped for need in item.entry.needs):
            return b""  # goes with what it belongs to
        raise NeedsFullError(
            f"{kind.lower()} {name} was changed or dropped, and there is no statement for that"
        )

    def _has_shell(self, item: Item) -> bool:
        return any(other.entry.kind == "SHELL TYPE" and other.key[1:] == item.key[1:] for other in self._base)


def _pair(base: Sequence[Item], new: Sequence[Item]) -> tuple[dict[int, int], set[int]]:
    """(numbers of equal objects, base to new; of those the ones that have another owner)."""
    waiting: dict[tuple[str, str, str], list[Item]] = defaultdict(list)
    for item in new:
        waiting[item.key].append(item)
    twins: dict[int, int] = {}
    owners: set[int] = set()
    for item in base:
        candidates = waiting.get(item.key, [])
        equal = next((one for one in candidates if one.content == item.content), None)
        if equal is None and len(candidates) == 1 and _differ_in_owner(item, candidates[0]):
            equal = candidates[0]
            owners.add(item.number)
        if equal is not None:
            candidates.remove(equal)
            twins[item.number] = equal.number
    return twins, owners


def _differ_in_owner(base: Item, new: Item) -> bool:
    same = base.definition == new.definition and base.content[1:] == new.content[1:]
    return same and new.entry.owner_offset < new.entry.length


def _attachments(items: Sequence[Item]) -> dict[int, int]:
    """The index or key of the whole by the number of that of a partition."""
    by_number = {item.number: item for item in items}
    found = {}
    for item in items:
        if item.entry.kind == "INDEX ATTACH":
            keys = [
                by_number[need]
                for need in item.entry.needs
                if need in by_number and by_number[need].entry.kind in _KEYS
            ]
            own = [
                key
                for key in keys
                if key.entry.schema == item.entry.schema
                and (key.entry.name == item.entry.name or key.entry.name.endswith(f" {item.entry.name}"))
            ]
            whole = [key for key in keys if key not in own]
            if len(own) == 1 and len(whole) == 1:
                found[own[0].number] = whole[0].number
    return found


def _take_back(item: Item, is_replaced: bool) -> list[bytes]:
    """Statements that undo a remark or privileges; a remark that another one replaces needs none."""
    name = f"{item.entry.schema}.{item.entry.name}".lstrip(".")
    if item.entry.kind in _REMARKS:
        if is_replaced:
            return []
        match = _REMARK.match(item.sql)
        if match is None:
            raise NeedsFullError(
                f"the {item.entry.kind.lower()} on {name} was removed in a way not understood"
            )
        return [match[1] + b"NULL;\n"]
    statements = _STATEMENT.findall(item.sql.strip())
    undone = []
    for statement in reversed(statements):
        match = _GRANT.match(statement.strip())
        if match is None:
            raise NeedsFullError(f"privileges on {name} that others than its owner granted were changed")
        prefix, verb, what, grantee = match.groups()
        if verb == b"GRANT":
            undone.append(prefix + b"REVOKE " + what + b" FROM " + grantee + b";\n")
        else:
            undone.append(prefix + b"GRANT " + what + b" TO " + grantee + b";\n")
    return undone
