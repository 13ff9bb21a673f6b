"""Read a pickle of numpy arrays without unpickling it.

``mnist.pkl.gz`` is a Python-2 pickle (protocol 2) of nested tuples of arrays. This reader knows the
19 opcodes that such a file is made of and interprets them itself: the three names a file may
mention stand for numpy's array constructors, nothing is imported, nothing named in the file is
called, and an array is a view of bytes whose type, shape and length agree. Anything else is
refused.
"""

import io
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_gen.errors import DataError

MAX_OPCODES = 1000
_RECONSTRUCT, _NDARRAY, _DTYPE, _MARK = object(), object(), object(), object()
_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DTYPE,
}
_DTYPES = (b"f4", b"f8", b"i8", b"u1")


class _Refused(Exception):
    """The pickle does something other than describe arrays."""


class _Array:
    """An array under construction, or a dtype: what REDUCE makes and BUILD completes."""

    dtype: bytes | None = None
    value: Any = None


def load_arrays(stream: io.BufferedIOBase, *, max_bytes: int, where: object = None) -> Any:
    """Read nested tuples of arrays from a pickle.

    Args:
        stream: The pickle, decompressed.
        max_bytes: Most bytes that are read before the file is refused.
        where: The file, for the error.

    Returns:
        Tuples of tuples of arrays (each a read-only view), as the pickle nests them.

    Raises:
        DataError: The file is cut off, too large, or not only a description of arrays.

    Example:
        >>> import io, os, pickle
        >>> load_arrays(io.BytesIO(pickle.dumps(os.getcwd, protocol=2)), max_bytes=100)
        Traceback (most recent call last):
        lightning_gen.errors.DataError: lightning_gen: error [3]: the pickle is refused: ...
    """
    try:
        return _finished(_Machine(stream, max_bytes).run())
    except _Refused as error:
        raise DataError(f"the pickle is refused: {error}", where=where) from None


def _finished(value: Any, depth: int = 0) -> Any:
    if isinstance(value, tuple) and depth < 4:
        return tuple(_finished(item, depth + 1) for item in value)
    if isinstance(value, _Array) and isinstance(value.value, np.ndarray):
        return value.value
    raise _Refused("it holds something other than tuples of arrays")


class _Machine:
    """The stack machine, with only what arrays need."""

    def __init__(self, stream: io.BufferedIOBase, max_bytes: int) -> None:
        self.stream, self.left = stream, max_bytes
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MAX_OPCODES):
            opcode = self.read(1)
            if opcode == b".":
                if len(self.stack) != 1:
                    raise _Refused("it ends with other than one value")
                return self.stack.pop()
            if opcode not in _ACTIONS:
                raise _Refused(f"opcode {opcode!r} has no place in an array")
            _ACTIONS[opcode](self)
        raise _Refused(f"it has more than {MAX_OPCODES} opcodes")

    def read(self, n: int) -> bytes:
        if n < 0 or n > self.left:
            raise _Refused("it is larger than any file of this kind")
        self.left -= n
        data = self.stream.read(n)
        if len(data) != n:
            raise _Refused("it is cut off")
        return data

    def number(self, layout: str) -> int:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def line(self) -> str:
        text = b""
        while len(text) < 64 and not text.endswith(b"\n"):
            text += self.read(1)
        return text.rstrip(b"\n").decode("latin-1")

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise _Refused("its stack runs empty")
        return self.stack.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def proto(self) -> None:
        if self.number("<B") != 2:
            raise _Refused("it is not of protocol 2")

    def global_(self) -> None:
        name = (self.line(), self.line())
        if name not in _NAMES:
            raise _Refused(f"it names {'.'.join(name)}")
        self.push(_NAMES[name])

    def put(self) -> None:
        value = self.pop()
        self.memo[self.number("<B")] = value
        self.push(value)

    def get(self) -> None:
        key = self.number("<B")
        if key not in self.memo:
            raise _Refused("it recalls what it never stored")
        self.push(self.memo[key])

    def tuple_of(self, n: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(n)])))

    def tuple_to_mark(self) -> None:
        items = []
        while self.stack and self.stack[-1] is not _MARK:
            items.append(self.stack.pop())
        if not self.stack:
            raise _Refused("its stack runs empty")
        self.stack[-1] = tuple(reversed(items))

    def reduce(self) -> None:
        arguments, constructor = self.pop(), self.pop()
        made = _Array()
        match (constructor, arguments):
            case (c, (t, (0,), b"b")) if c is _RECONSTRUCT and t is _NDARRAY:
                pass
            case (c, (bytes(code), 0, 1)) if c is _DTYPE and code in _DTYPES:
                made.dtype = code
            case _:
                raise _Refused("it calls something other than an array constructor")
        self.push(made)

    def build(self) -> None:
        state, target = self.pop(), self.pop()
        if not isinstance(target, _Array) or target.value is not None:
            raise _Refused("it sets the state of something other than a new array")
        match state:
            case (3, bytes(order), None, None, None, -1, -1, 0) if target.dtype is not None:
                if order not in (b"<", b"|"):
                    raise _Refused(f"byte order {order!r}")
                target.value = np.dtype((order + target.dtype).decode())
            case (1, tuple(shape), _Array(value=np.dtype() as dtype), False, bytes(data)) if (
                target.dtype is None
            ):
                target.value = _view(shape, dtype, data)
            case _:
                raise _Refused("it sets a state that is not an array's")
        self.push(target)


def _view(shape: tuple[Any, ...], dtype: np.dtype[Any], data: bytes) -> NDArray[Any]:
    if len(shape) > 4 or not all(type(n) is int and n >= 0 for n in shape):
        raise _Refused("an array has an impossible shape")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise _Refused(f"an array of shape {shape} and type {dtype} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape)


_ACTIONS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": _Machine.proto,
    b"c": _Machine.global_,
    b"q": _Machine.put,
    b"h": _Machine.get,
    b"R": _Machine.reduce,
    b"b": _Machine.build,
    b"(": lambda m: m.push(_MARK),
    b"t": _Machine.tuple_to_mark,
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"N": lambda m: m.push(None),
    b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"J": lambda m: m.push(m.number("<i")),
    b"U": lambda m: m.push(m.read(m.number("<B"))),
    b"T": lambda m: m.push(m.read(m.number("<i"))),
}
