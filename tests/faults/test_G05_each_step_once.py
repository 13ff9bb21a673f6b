"""G5: a resumed history has each step once, the rows before as they were."""

from lightning_gen.runs.history import History, make_row, read


def rows_of(*iterations, kind="train"):
    return [make_row(kind, k, 64 * k, {"loss": k / 3}) for k in iterations]


def test_G05_rewind_drops_each_later_row_once(tmp_path):
    path = tmp_path / "m.jsonl"
    history = History(path)
    for row in rows_of(1, 2) + rows_of(2, kind="eval") + rows_of(3, 4):
        history.append(row)
    assert history.rewind(2) == rows_of(2, kind="eval")[0]
    history.append(rows_of(3)[0])
    assert [row["iteration"] for row in read(path)] == [1, 2, 2, 3]
    assert [row["iteration"] for row in read(path, kinds=["train"])] == [1, 2, 3]
    before = path.stat()
    history.rewind(3)
    assert path.stat().st_ino == before.st_ino, "nothing to drop, nothing written"
    assert history.rewind(0) is None
    history.close()
    assert path.read_bytes() == b""
