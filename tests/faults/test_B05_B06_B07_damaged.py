"""A checkpoint that was cut, or changed in any bit, is told apart from a sound one.

B5: a truncated file says how much of it is missing. B6: a flipped bit or a hole fails the SHA-256.
Either way the run continues from the newest sound one and says so. B7: with none left it stops,
and never starts from nothing.
"""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_gen.errors import CheckpointError
from lightning_gen.runs import checkpoint
from lightning_gen.runs.checkpoint import CheckpointStore, NewerCheckpointError
from tests.faults.stores import flip, payload
from tests.system.harness import assert_same, only_run, outcome, tiny, train


def test_B06_random_byte_flips_are_all_detected(store):
    path = store.save(payload(size=5_000), 1, 64)
    whole, rng = path.read_bytes(), random.Random(0)
    ends = [*range(128), *range(len(whole) - 400, len(whole))]
    for position in ends + [rng.randrange(len(whole)) for _ in range(1000)]:
        flip(path, position, rng.randrange(8))
        with pytest.raises(CheckpointError) as caught:
            store.load(path)
        assert not isinstance(caught.value, NewerCheckpointError)
        path.write_bytes(whole)
    hole = bytearray(whole)
    hole[10_000:14_096] = bytes(4096)
    path.write_bytes(hole)
    with pytest.raises(CheckpointError, match="fails its SHA-256"):
        store.load(path)


def test_B05_truncations_are_all_detected_and_say_how_much_is_missing(store):
    path = store.save(payload(size=300_000), 1, 64)
    whole, rng = path.read_bytes(), random.Random(0)
    sizes = [0, 1, 20, 63, 64, len(whole) // 2, *range(len(whole) - 400, len(whole))]
    for size in sizes + [rng.randrange(len(whole)) for _ in range(100)]:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError) as caught:
            store.load(path)
        if size >= 64 or size == 0:
            assert "is truncated" in caught.value.what
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"truncated \(0\.60\d of 1\.20\d MB\)"):
        store.load(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(CheckpointError, match="SHA-256"):
        store.load(path)


def test_B05_B06_falls_back_to_the_one_before_and_says_so(store, caplog):
    good, last = (store.save(payload(k), k, 64 * k) for k in (1, 2))
    flip(last, last.stat().st_size // 2)
    found, path = store.latest()
    assert (found["k"], path) == (1, good)
    assert f"{last.name} fails its SHA-256" in caplog.text
    assert f"continuing from {good.name}" in caplog.text
    store.save(payload(1), 1, 64)
    assert not last.exists(), "the rejected future is gone once its past is durable again"


def test_B06_a_rejected_checkpoint_does_not_take_the_place_of_a_good_one(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    store.save(payload(1), 10, 640)
    saved = (tmp_path / "000000000640.ckpt").read_bytes()
    later = store.save(payload(2), 20, 1280)
    flip(later, 500)
    (tmp_path / "000000000640.ckpt").write_bytes(saved)
    assert store.latest()[0]["k"] == 1
    store.save(payload(3), 15, 960)
    assert store.latest()[0]["k"] == 3


def test_B07_all_bad_never_starts_from_scratch(store):
    paths = [store.save(payload(k), k, 64 * k, best=k == 1) for k in (1, 2, 3)]
    paths[0].write_bytes(b"")
    flip(paths[1], 300)
    paths[2].write_bytes(paths[2].read_bytes()[:-8])
    with pytest.raises(CheckpointError) as caught:
        store.latest()
    assert "(3 found, 3 rejected: " in caught.value.what
    assert all(path.name in caught.value.what for path in paths)
    assert "run.fresh=true" in caught.value.fix
    assert CheckpointStore(store.folder / "missing").latest() is None


def test_B06_nonsense_files_are_refused(store):
    store.save(payload(1), 1, 64)
    rng = random.Random(0)
    path = store.folder / "999999999999.ckpt"
    facts = checkpoint.MAGIC + b'"iteration": "x", "sha256": "' + b"0" * 64 + b'"}'
    for data in (b"PK", rng.randbytes(5000), facts, checkpoint.MAGIC + b"[" * 900, b"{}" * 40):
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            store.load(path)
        assert store.latest()[0]["k"] == 1


def test_B05_a_missing_file_is_named(store):
    with pytest.raises(CheckpointError, match=r"cannot read .*x\.ckpt: No such file"):
        store.load(store.folder / "x.ckpt")


@st.composite
def damage(draw):
    """A change of bytes: something else in the place of a stretch, which may be empty."""
    start = draw(st.floats(0, 1))
    return start, draw(st.integers(0, 5000)), draw(st.binary(max_size=40))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(damage(), min_size=1, max_size=3), size=st.integers(0, 3000))
def test_B05_B06_no_change_of_bytes_passes(changes, size, tmp_path_factory):
    store = CheckpointStore(tmp_path_factory.mktemp("store"))
    path = store.save(payload(size=size), 1, 64)
    whole = data = path.read_bytes()
    for start, length, instead in changes:
        place = int(start * len(data))
        data = data[:place] + instead + data[place + length :]
    path.write_bytes(data)
    if data == whole:
        store.load(path)
        return
    with pytest.raises(CheckpointError):
        store.load(path)


@pytest.mark.slow
def test_B05_B06_ten_thousand_flips_and_a_thousand_truncations(store, figure):
    path = store.save(payload(size=5_000), 1, 64)
    whole, rng = path.read_bytes(), random.Random(1)
    undetected = 0
    for _ in range(10_000):
        place, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        undetected += passes(store, path)
    for _ in range(1_000):
        path.write_bytes(whole[: rng.randrange(len(whole))])
        undetected += passes(store, path)
    figure("R6", 11_000 - undetected, 11_000)
    assert not undetected


def passes(store, path):
    try:
        store.load(path)
    except CheckpointError:
        return 0
    return 1


def test_B05_B06_B07_a_run_resumes_from_the_sound_one(tmp_path, mnist_root):
    whole = tiny("gan", tmp_path / "whole", mnist_root)
    assert train(whole) == 0
    overrides = tiny("gan", tmp_path / "cut", mnist_root)
    play = ("lightning_gen.players", "AlternatingModule", "descending", 17, False)
    assert train(overrides, die=play) == -9
    run = only_run(tmp_path / "cut")
    sound = {path: path.read_bytes() for path in sorted((run / "checkpoints").glob("*.ckpt"))}
    for path, data in sound.items():
        path.write_bytes(data[:1000])
    assert train(overrides) == 4, "nothing sound is left: never from scratch without a word"
    *older, newest = sound
    assert len(older) >= 1 and newest.stat().st_size == 1000
    for path in older:
        path.write_bytes(sound[path])
    assert train(overrides) == 0
    assert_same(outcome(only_run(tmp_path / "whole")), outcome(run))
