"""A reader of pickles that runs nothing: it builds plain values and notes what would be called.

A pickle is a program for a stack machine. `pickle.Unpickler` runs it with Python's own objects, so
that a pickle can set attributes on the functions it is given, reserve memory for an index, or
build a dictionary key whose hash takes for ever. This machine knows lists, tuples, dictionaries,
numbers and strings; names, calls and references are answered by its caller; everything else is
refused. It takes time and memory in proportion to the pickle's bytes.
"""

import pickletools
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

# A checkpoint of ResNet-101 with its optimizer takes 60,000.
MOST_OPERATIONS = 1_000_000
_MOST_INDEX = 2**31


class PickleError(ValueError):
    """A pickle holds something that is no plain value."""


def short(value: Any) -> str:
    """Shows a scalar of a foreign file in a message: on one line, printable, not too long."""
    if isinstance(value, int | float | str | bytes | None):
        return ascii(value if not isinstance(value, str | bytes) else value[:80])[:100]
    return f"a {type(value).__name__}"


class Reader:
    """Reads pickles from a stream, one after the other.

    Args:
        stream: its `read` must not reserve memory for more than it holds.
        named: resolves a module and a name, or refuses it.
        called: answers a call of what `named` gave with a tuple of arguments, for this reader.
        referred: resolves a persistent id.
    """

    def __init__(
        self,
        stream: BinaryIO,
        named: Callable[[str, str], Any],
        called: Callable[[Any, tuple, "Reader"], Any],
        referred: Callable[[Any], Any],
    ) -> None:
        self._stream, self._operations = stream, 0
        self._named, self._called, self._referred = named, called, referred
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Reads the next pickle.

        Raises:
            PickleError: it holds what is no plain value, or takes too many operations.
            ValueError, IndexError: it is damaged, or ends early.
        """
        self._stack, self._marks, self._memo = [], [], {}
        for operation, argument, _ in pickletools.genops(self._stream):
            self._count()
            if operation.name in _PUSHED:
                self._stack.append(argument)
            elif operation.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[operation.name]())
            elif operation.name in _OLD_STRINGS:
                # Python 2 wrote bytes; `pickletools` shows them as Latin-1.
                self._stack.append(argument.encode("latin-1").decode("utf-8"))
            elif operation.name in _HANDLERS:
                _HANDLERS[operation.name](self, argument)
            elif operation.name not in ("PROTO", "FRAME", "STOP"):
                raise PickleError(f"it holds the operation {operation.name}")
        return self._stack[-1]

    def fill(self, target: dict, items: Iterable) -> None:
        """Adds pairs whose keys are small scalars to a dictionary; each is an operation.

        A tuple as a key may take for ever to hash, and large numbers can be chosen to collide.

        Raises:
            PickleError: a key is something else.
        """
        for key, value in items:
            # One list of many pairs may be made a dictionary many times.
            self._count()
            number = isinstance(key, int) and abs(key) < _MOST_INDEX
            if not number and not isinstance(key, str | bytes | None):
                raise PickleError(f"{short(key)} is the key of a dictionary")
            target[key] = value

    def _count(self) -> None:
        self._operations += 1
        if self._operations > MOST_OPERATIONS:
            raise PickleError(f"it takes more than {MOST_OPERATIONS} operations")

    def _marked(self) -> list[Any]:
        """Takes off the stack what lies above the last mark."""
        mark = self._marks.pop()
        values = self._stack[mark:]
        del self._stack[mark:]
        return values

    def _pop(self) -> Any:
        if self._marks and len(self._stack) <= self._marks[-1]:
            raise PickleError("it takes more off its stack than there is")
        return self._stack.pop()

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._stack.append(tuple(reversed(values)))

    def _append(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise PickleError("it appends to what is no list")
        self._stack[-1].extend(values)

    def _set(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], dict):
            raise PickleError("it sets items of what is no dictionary")
        self.fill(self._stack[-1], zip(values[::2], values[1::2], strict=True))

    def _set_one(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _put(self, index: int | None) -> None:
        index = len(self._memo) if index is None else index
        if not 0 <= index < _MOST_INDEX:
            raise PickleError(f"it remembers a value under {short(index)}")
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _global(self, name: str) -> None:
        module, _, rest = name.partition(" ")
        self._stack.append(self._named(module, rest))

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("it names something by what is no string")
        self._stack.append(self._named(module, name))

    def _reduce(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(arguments, tuple):
            raise PickleError("it calls something with what is no tuple")
        self._stack.append(self._called(function, arguments, self))

    def _build(self, _: Any) -> None:
        """Drops the attributes of a dictionary (a state dict's `_metadata`); no other has any."""
        self._pop()
        if not isinstance(self._stack[-1], dict):
            raise PickleError("it sets attributes of what is no dictionary")

    def _refer(self, _: Any) -> None:
        self._stack.append(self._referred(self._pop()))


_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
_PUSHED = frozenset((*_NUMBERS, *_TEXTS, *_BYTES))
_OLD_STRINGS = frozenset(("STRING", "BINSTRING", "SHORT_BINSTRING"))
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}


def _dict(reader: Reader, _: Any) -> None:
    values = reader._marked()
    reader._stack.append({})
    reader._set(values)


_HANDLERS: dict[str, Callable[[Reader, Any], None]] = {
    "MARK": Reader._mark,
    "POP": lambda reader, _: reader._pop(),
    "TUPLE": lambda reader, _: reader._stack.append(tuple(reader._marked())),
    "TUPLE1": lambda reader, _: reader._tuple(1),
    "TUPLE2": lambda reader, _: reader._tuple(2),
    "TUPLE3": lambda reader, _: reader._tuple(3),
    "LIST": lambda reader, _: reader._stack.append(reader._marked()),
    "DICT": _dict,
    "APPEND": lambda reader, _: reader._append([reader._pop()]),
    "APPENDS": lambda reader, _: reader._append(reader._marked()),
    "SETITEM": Reader._set_one,
    "SETITEMS": lambda reader, _: reader._set(reader._marked()),
    "PUT": Reader._put,
    "BINPUT": Reader._put,
    "LONG_BINPUT": Reader._put,
    "MEMOIZE": Reader._put,
    "GET": Reader._get,
    "BINGET": Reader._get,
    "LONG_BINGET": Reader._get,
    "GLOBAL": Reader._global,
    "STACK_GLOBAL": Reader._stack_global,
    "REDUCE": Reader._reduce,
    "BUILD": Reader._build,
    "BINPERSID": Reader._refer,
}
