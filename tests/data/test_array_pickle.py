import io
import os
import pickle
import struct

import numpy as np
import pytest

from lightning_gen.data.array_pickle import MAX_OPCODES, load_arrays
from lightning_gen.errors import DataError

RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
EMPTY = RECONSTRUCT + b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R"


def load(data, max_bytes=10**6):
    return load_arrays(io.BytesIO(data), max_bytes=max_bytes, where="FILE")


def array(code, shape, data, order=b"<"):
    """An array as Python 2 pickled it with protocol 2, without the protocol's header."""
    sizes = b"".join(b"J" + struct.pack("<i", n) for n in shape)
    dtype = b"cnumpy\ndtype\nU\x02" + code + b"K\x00K\x01\x87R"
    dtype += b"(K\x03U\x01" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    held = b"T" + struct.pack("<i", len(data)) + data
    return EMPTY + b"(K\x01(" + sizes + b"t" + dtype + b"\x89" + held + b"tb"


X = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
Y = np.array([7, -1], dtype=np.int64)
GOOD = b"\x80\x02" + array(b"f4", (2, 3), X.tobytes()) + array(b"i8", (2,), Y.tobytes()) + b"\x86."


def test_arrays_are_those_of_pickle():
    x, y = load(GOOD)
    trusted = pickle.loads(GOOD, encoding="latin1")
    assert x.dtype == trusted[0].dtype and (x == trusted[0]).all() and (x == X).all()
    assert y.dtype == trusted[1].dtype and (y == trusted[1]).all() and (y == Y).all()


class Command:
    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("nested", [False, True])
def test_nothing_is_executed(tmp_path, protocol, nested):
    proof = tmp_path / "proof"
    for command in (
        Command(os.system, f"touch {proof}"),
        Command(eval, f"open({str(proof)!r}, 'w')"),
        Command(open, str(proof), "w"),
    ):
        value = (np.zeros(2), (command,)) if nested else command
        with pytest.raises(DataError, match="refused"):
            load(pickle.dumps(value, protocol=protocol))
    assert not proof.exists()


def test_command_in_place_of_an_array(tmp_path):
    proof = tmp_path / "proof"
    shell = f"touch {proof}".encode()
    call = b"cposix\nsystem\nU" + bytes([len(shell)]) + shell + b"\x85R"
    for data in (call, GOOD[2:-2] + call + b"\x87", EMPTY + b"(K\x01K\x05\x85" + call + b"tb"):
        with pytest.raises(DataError, match=r"it names posix.system"):
            load(b"\x80\x02" + data + b".")
    assert not proof.exists()


@pytest.mark.parametrize(
    "name", [b"numpy\nload", b"numpy.core.multiarray\nfromfile", b"builtins\nexec", b"\n", b"os\n"]
)
def test_other_names_are_refused(name):
    with pytest.raises(DataError, match="it names"):
        load(b"\x80\x02c" + name + b"\n.")


def test_endless_name_is_refused():
    with pytest.raises(DataError, match="it names"):
        load(b"\x80\x02c" + b"a" * 10**6)


def test_unknown_opcodes_are_refused():
    known = set(b"\x80cqhRb(t\x85\x86\x87N\x89KMJUT.")
    for opcode in set(range(256)) - known:
        with pytest.raises(DataError, match="has no place in an array"):
            load(b"\x80\x02" + bytes([opcode]) + b"\x00" * 100)


@pytest.mark.parametrize(
    "data",
    [
        b"(" * 10**6,
        b"N" + b"\x85" * 10**6 + b".",
        b"N" + b"\x85" * 500 + b".",
        b"(" * 400 + b"t" * 400 + b".",
        b"N" * 2 + b"q\x00" * 10**5,
    ],
)
def test_deep_nesting_is_refused(data):
    with pytest.raises(DataError, match=r"opcodes|tuples of arrays"):
        load(b"\x80\x02" + data, max_bytes=10**7)


def test_most_opcodes():
    with pytest.raises(DataError, match=f"more than {MAX_OPCODES} opcodes"):
        load(b"\x80\x02" + b"N" * MAX_OPCODES + b".")


@pytest.mark.parametrize("size", [2**31 - 1, -1, -(2**31), 10**6])
def test_impossible_sizes_are_refused_before_reading(size):
    with pytest.raises(DataError, match="larger than any file of this kind"):
        load(b"\x80\x02T" + struct.pack("<i", size) + b"abc.")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (array(b"f4", (2, 3), b"\x00" * 20), "has 20 bytes"),
        (array(b"f4", (2**31 - 1, 2**31 - 1), b""), "has 0 bytes"),
        (array(b"f4", (-2, -3), X.tobytes()), "impossible shape"),
        (array(b"f4", (1, 1, 1, 2, 3), X.tobytes()), "impossible shape"),
        (array(b"O8", (2,), b"\x00" * 16), "array constructor"),
        (array(b"f4", (2, 3), X.tobytes(), order=b">"), "byte order"),
        (EMPTY, "other than tuples of arrays"),
        (EMPTY + b"Nb", "a state that is not an array's"),
        (b"Nb", "stack runs empty"),
        (b"t", "stack runs empty"),
        (b"NN\x87", "stack runs empty"),
        (b"(\x85", "stack runs empty"),
        (b"h\x05", "never stored"),
        (b"NN", "other than one value"),
        (b"K\x01", "other than tuples of arrays"),
        (RECONSTRUCT, "other than tuples of arrays"),
        (array(b"f4", (2, 3), X.tobytes()) + b"Nb", "something other than a new array"),
    ],
)
def test_malformed_arrays_are_refused(data, said):
    with pytest.raises(DataError, match=said) as caught:
        load(b"\x80\x02" + data + b".")
    assert caught.value.where == "FILE"


def test_other_protocol_is_refused():
    with pytest.raises(DataError, match="not of protocol 2"):
        load(b"\x80\x04" + GOOD[2:])


def test_cut_off_anywhere_is_refused():
    for end in range(len(GOOD)):
        with pytest.raises(DataError, match="refused"):
            load(GOOD[:end])


def test_mutations_give_arrays_or_a_refusal():
    draw = np.random.RandomState(0)
    for _ in range(5000):
        data = bytearray(GOOD)
        for at in draw.randint(len(data), size=draw.randint(1, 4)):
            data[at] = draw.randint(256)
        try:
            found = load(bytes(data))
        except DataError:
            continue
        stack = [found]
        while stack:
            item = stack.pop()
            assert isinstance(item, (tuple, np.ndarray))
            stack += item if isinstance(item, tuple) else []
