"""Reads what a pickle would call and which tensors it declares, without running any of it."""

from __future__ import annotations

import io
import pickletools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import AuditError
from ..settings.limits import Limits
from .archives import Archive, check, opened

PICKLE_BYTES = 64 * 2**20
OPERATIONS = 2_000_000
DEEPEST = 100
LEGACY_MARK = 0x1950A86A20F9469CFC6C
LEGACY_PICKLES = 5
"""Mark, protocol, system, the object itself and the keys of its storages; the bytes of the storages follow."""

# What loading an ordinary state dict calls. None of it takes a size from the file that `declared.py` does not check.
CALLED = re.compile(
    r"collections\.(OrderedDict|Counter)|(builtins|__builtin__)\.(set|complex)|_codecs\.encode|argparse\.Namespace"
    r"|numpy\.dtype|numpy\._?core\.multiarray\.scalar"
    r"|torch\.(Size|device)|torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout"
    r"|torch\._utils\._rebuild_(tensor(_v2|_v3)?|parameter(_with_state)?|qtensor|sparse_tensor)"
    r"|torch\._utils\._rebuild_(meta_tensor_no_storage|device_tensor_from_cpu_tensor)"
    r"|torch\._tensor\._rebuild_from_type_v2"
)
# What it names as a value: element types, kinds of storage and of tensors.
NAMED = re.compile(
    r"torch\.(cuda\.)?\w+Storage|torch\.storage\.(Typed|Untyped)Storage|torch\.\w*Tensor"
    r"|torch\.(bool|b?complex\d+|q?u?int\d\w*|b?float\d\w*|bits\w+|per_(tensor|channel)_\w+)"
)
TENSOR_FROM_STATE = "torch._utils._rebuild_tensor"
TENSOR_WITH_TYPE = "torch._tensor._rebuild_from_type_v2"

PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
GETS = ("GET", "BINGET", "LONG_BINGET")
TUPLES = ("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
CALLS = ("REDUCE", "NEWOBJ", "NEWOBJ_EX")
CONTAINERS = ("EMPTY_LIST", "LIST", "EMPTY_DICT", "DICT", "EMPTY_SET", "FROZENSET")
OPAQUE, MARK = object(), object()


@dataclass(frozen=True)
class Global:
    """A name that the pickle imports, e.g. `torch._utils._rebuild_tensor_v2`."""

    name: str


@dataclass(frozen=True)
class Storage:
    """The memory of tensors as the pickle declares it: kind, e.g. `torch.FloatStorage`, key, number of elements."""

    kind: str
    key: Any
    count: Any


@dataclass(frozen=True)
class PickledCall:
    """A call that unpickling makes; arguments that are not plain values, tuples or storages are opaque."""

    name: str
    arguments: Sequence[Any]


@dataclass
class Contents:
    """What the pickles of a file would do.

    Attributes:
        archive: of a zip file; None where the pickles lie in the open.
        damage: why they could not be read to the end, or empty.
        names: that they import.
        calls: that they make, in order.
        storages: that they declare, in order.
        containers: how many lists, dictionaries and sets they make.
    """

    archive: Archive | None = None
    damage: str = ""
    names: set[str] = field(default_factory=set)
    calls: list[PickledCall] = field(default_factory=list)
    storages: list[Storage] = field(default_factory=list)
    containers: int = 0

    @property
    def foreign(self) -> list[str]:
        """Names that a state dict has no need to import, or no need to call, sorted."""
        called = {call.name for call in self.calls if not CALLED.fullmatch(call.name)}
        named = {name for name in self.names if not CALLED.fullmatch(name) and not NAMED.fullmatch(name)}
        return sorted(called | named)


def scan(path: Path, limits: Limits) -> Contents:
    """What unpickling a checkpoint (torch's zip, or its older form) or a plain pickle would do.

    Raises:
        ModelError: unreadable.
        UnsafeError: a malformed archive, or above the limits.

    Cost: some microseconds an operation of the pickle.
    """
    with opened(path) as file:
        zipped = file.read(2) == b"PK"
        file.seek(0)
        stream = io.BytesIO(b"" if zipped else file.read(PICKLE_BYTES))
    if zipped:
        archive = check(path, limits)
        contents = Contents(archive)
        read_pickle(io.BytesIO(archive.read("data.pkl", PICKLE_BYTES)), contents)
        return contents
    contents = Contents()
    # Whatever else it is, its first pickle is the one that would be run.
    if read_pickle(stream, contents) == LEGACY_MARK:
        for _ in range(LEGACY_PICKLES - 1):
            read_pickle(stream, contents)
    return contents


def foreign_globals(path: Path) -> list[str]:
    """Names that a checkpoint would import or call and a state dict has no need of, sorted; empty if unreadable."""
    try:
        return scan(path, Limits()).foreign
    except AuditError:
        return []


def read_pickle(stream: io.BytesIO, contents: Contents) -> Any:
    """Take in the next pickle of the stream; returns what it leaves, where that is a plain value."""
    machine = _Machine(contents)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > OPERATIONS:
                raise ValueError("too many operations")
            if opcode.name == "STOP":
                return machine.stack[-1]
            machine.step(opcode, argument)
    except (ValueError, IndexError, KeyError) as error:
        contents.damage = str(error) or type(error).__name__
    return None


class _Tuple(tuple[Any, ...]):
    """A tuple that knows how deep it nests: hashing a very deep one would crash the interpreter."""

    depth = 1


class _Machine:
    """Follows the stack of a pickle with symbols in the place of objects."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name = opcode.name
        self.contents.containers += name in CONTAINERS
        if name in PUTS:
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in GETS:
            self.stack.append(self.memo[argument])
        elif name == "DUP":
            self.stack.append(self.stack[-1])
        else:
            popped = self._pop(opcode.stack_before)
            self.stack += [self._made(name, argument, popped) for _ in opcode.stack_after]

    def _pop(self, before: Sequence[pickletools.StackObject]) -> list[Any]:
        if pickletools.markobject not in before:
            return [self.stack.pop() for _ in before][::-1]
        above = []
        while (value := self.stack.pop()) is not MARK:
            above.append(value)
        below = [self.stack.pop() for _ in range(before.index(pickletools.markobject))]
        return below[::-1] + above[::-1]

    def _made(self, name: str, argument: Any, popped: list[Any]) -> Any:
        if name == "MARK":
            return MARK
        if name in TUPLES:
            made = _Tuple(popped)
            made.depth = 1 + max((value.depth for value in popped if isinstance(value, _Tuple)), default=0)
            if made.depth > DEEPEST:
                raise ValueError(f"tuples nest deeper than {DEEPEST}")
            return made
        if name == "GLOBAL":
            return self._named(argument.replace(" ", "."))
        if name == "STACK_GLOBAL":
            return self._named(".".join(map(str, popped)))
        if name.startswith("EXT"):
            return self._named(f"copyreg extension {argument}")
        if name == "INST":
            return self._called(self._named(argument.replace(" ", ".")), popped)
        if name == "OBJ":
            return self._called(popped[0], popped[1:])
        if name in CALLS:
            return self._called(popped[0], popped[1])
        if name == "BUILD":
            return self._built(*popped)
        if name in ("PERSID", "BINPERSID"):
            return self._stored(popped[0] if popped else argument)
        if name in ("NEWTRUE", "NEWFALSE"):
            return name == "NEWTRUE"
        return OPAQUE if popped or argument is None else argument

    def _named(self, name: str) -> Global:
        self.contents.names.add(name)
        return Global(name)

    def _called(self, target: Any, arguments: Any) -> Any:
        name = target.name if isinstance(target, Global) else "a function that the pickle makes"
        known = arguments if isinstance(arguments, _Tuple | list) else (OPAQUE,)
        self.contents.calls.append(PickledCall(name, known))
        if name == TENSOR_WITH_TYPE and len(known) > 2:
            return self._called(known[0], known[2])
        return known[0] if name == "torch.Size" and known else OPAQUE

    def _built(self, made: Any, state: Any) -> Any:
        # torch gives a plain tensor its storage, offset, size and stride in this way too.
        if isinstance(state, _Tuple) and state and isinstance(state[0], Storage):
            self.contents.calls.append(PickledCall(TENSOR_FROM_STATE, state))
        return made

    def _stored(self, key: Any) -> Any:
        if not isinstance(key, _Tuple) or len(key) < 5 or key[0] != "storage" or not isinstance(key[1], Global):
            return OPAQUE
        storage = Storage(key[1].name, key[2], key[4])
        self.contents.storages.append(storage)
        return storage
