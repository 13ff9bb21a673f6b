"""Text as a data set: both kinds of tokens, any language, and files that are none."""

import lzma

import numpy as np
import pytest
import torch

from lightning_gen.config.compose import ConfigError, check_overrides
from lightning_gen.data.module import StreamLoader
from lightning_gen.data.text import SCALARS, Text, TextSet, help_text
from lightning_gen.errors import DataError

JAPANESE = """春の朝、窓を開けると冷たい風が部屋に入ってきた。
駅までの道には、まだ誰もいない。パン屋の明かりだけがついている。
「おはようございます」と店の人が言った。私も小さな声で答えた。
電車は七時十五分に来る。今日はいつもより三分おくれているらしい。
川の向こうに山が見える。頂上には雪が残っていて、朝日に光っている。
学校では数学の試験がある。昨日の夜は遅くまで勉強したので、少し眠い。
友だちの田中さんはもう席に座っていた。彼女は本を読むのが好きだ。
昼休みに雨が降りはじめた。傘を持ってこなかったことを後悔した。
図書館には古い本がたくさんある。紙のにおいがして、とても静かだ。
帰り道、犬が一匹ついてきた。白くて耳の長い犬だった。
夕食は魚と味噌汁とご飯。父は新聞を読み、母は笑っている。
夜、星がきれいに見えた。明日はきっと晴れるだろう。
"""


@pytest.fixture
def make(tmp_path):
    def text(content=JAPANESE, **options):
        path = tmp_path / "text.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        options = {"path": str(path), "batch_size": 2, "length": 8, "stride": 8} | options
        data = Text(str(tmp_path / "data"), str(tmp_path), **options)
        data.prepare_data()
        data.setup()
        return data

    return text


@pytest.mark.parametrize("tokens", ["bytes", "characters"])
def test_tokens_are_the_text_and_come_back_to_it(make, tokens):
    data = make(tokens=tokens, vocabulary={"bytes": 256, "characters": 400}[tokens])
    train, test = (torch.from_numpy(np.array(data.stream_of(s)[0])) for s in data.splits)
    if tokens in {"bytes"}:
        assert "".join(data.texts(torch.cat([train, test])[None])) == JAPANESE
    assert JAPANESE.startswith(data.texts(train.long()[None])[0])
    sentence = "春の朝、雨が降りはじめた。"
    assert data.texts(data.ids(sentence)[None]) == [sentence]
    batch = data.real("test", [0])
    assert batch.image.shape == (1, 8) and batch.image.dtype == torch.int64 and batch.label is None


def test_splits_are_cut_at_the_same_character(make):
    of_bytes, of_characters = make(), make(tokens="characters", vocabulary=400)
    cut = round(0.9 * len(JAPANESE))
    for split, part in (("train", JAPANESE[:cut]), ("test", JAPANESE[cut:])):
        assert bytes(of_bytes.stream_of(split)[0]).decode() == part
        ids, widths = of_characters.stream_of(split)
        assert len(ids) == len(part) and widths.sum() == len(part.encode())
    assert of_bytes.fingerprint != of_characters.fingerprint
    assert of_bytes.text_fingerprint("test") == of_characters.text_fingerprint("test")


def test_a_piece_of_a_character_is_decoded_as_such(make):
    data = make()
    broken = data.ids("春の")[:-1]
    assert data.texts(broken[None]) == ["春\ufffd"]


def test_characters_that_training_has_not_are_unknown_and_counted(make):
    data = make("ab" * 90 + "ab" * 8 + "xyxy", tokens="characters", vocabulary=5)
    assert data.prepared.meta["note"] == {"train_unknown": 0, "test_unknown": 4}
    assert data.ids("abx").tolist() == [1, 2, data.unknown]
    assert data.texts(torch.tensor([[1, 2, 0, 4]])) == ["ab\ufffd\ufffd"]


def test_the_most_frequent_characters_are_the_vocabulary(make):
    data = make("aaab" * 50 + "ccd" * 20, tokens="characters", vocabulary=3)
    assert data.ids("acbd").tolist() == [1, 0, 2, 0]  # a: 150, b: 50, c: the rest of training's
    assert 0 < SCALARS < 0x110000


@pytest.mark.parametrize("stride", [1, 3, 8, None])
def test_windows_cover_the_text(make, stride):
    data = make(stride=stride)
    raw = JAPANESE.encode()
    n, seen = len(data.stream_of("train")[0]), set()
    for i in range(data.size("train")):
        (row,) = data.real("train", [i]).image
        first = min(i * data.stride, n - 8)
        assert bytes(row.tolist()) == raw[first : first + 8]
        seen |= set(range(first, first + 8))
    assert seen == set(range(n))


def test_ranks_share_one_stream():
    windows = TextSet(np.arange(64, dtype=np.uint8), length=4, stride=4)

    def rows(iteration, rank=0, world=1):
        loader = StreamLoader(windows, batch_size=4, seed=3, rank=rank, world=world, stop=8)
        return loader.batch(iteration).image

    for k in range(8):
        assert torch.equal(torch.cat([rows(k, 0, 2), rows(k, 1, 2)]), rows(k))
    epoch = torch.cat([rows(k) for k in range(4)]).flatten()
    assert sorted(epoch.tolist()) == list(range(64))


def test_a_folder_is_its_files_in_order_and_each_path_has_its_arrays(tmp_path):
    for name, text in (("b/2.txt", "zwei" * 40), ("a.txt", "eins" * 40), ("c.md", "not")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)

    def data(path):
        made = Text(str(tmp_path), str(tmp_path), path=str(path), batch_size=1, length=4)
        made.prepare_data()
        made.setup()
        return made

    whole, one = data(tmp_path / "in"), data(tmp_path / "in/a.txt")
    joined = b"".join(bytes(whole.stream_of(s)[0]) for s in ("train", "test"))
    assert joined.decode() == "eins" * 40 + "\n" + "zwei" * 40
    assert whole.folder != one.folder and whole.fingerprint != one.fingerprint
    (tmp_path / "in/a.txt").unlink()
    assert data(tmp_path / "in/a.txt").fingerprint == one.fingerprint  # the arrays are enough


def test_arrays_follow_the_text(make):
    first = make("one two three " * 20).fingerprint
    assert make("one two three " * 20).fingerprint == first
    assert make("one two four. " * 20).fingerprint != first


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"caf\xe9 " * 40, r"byte 0xe9 at offset 3 .*text.txt.*iconv"),
        (b"\xef\xbb\xbfab\xff" * 40, "byte 0xff at offset 5"),
        ("é".encode()[:1], "offset 0"),
        ("日本".encode("utf-16"), "not UTF-8"),
        (b"text\0more" * 40, "NUL at offset 4"),
        (b"", "there is no text"),
        (b" \n\n ", "there is no text"),
        (b"ab", "leave none"),
        (b"abcdefgh" * 4, "test split has 3 tokens"),
        (b"\xed\xa0\x80" * 40, "not UTF-8"),
    ],
)
def test_what_is_no_text_is_refused(make, content, says):
    with pytest.raises(DataError) as raised:
        make(content)
    import re

    assert re.search(says, " ".join(str(raised.value).split())), raised.value


def test_a_path_that_is_not_there_is_named(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, says in ((tmp_path / "no.txt", "No such file"), (empty, "no .txt file")):
        with pytest.raises(DataError, match=says):
            Text(str(tmp_path), str(tmp_path), path=str(path), batch_size=1).prepare_data()


def test_a_byte_order_mark_is_left_out(make):
    data = make(b"\xef\xbb\xbf" + b"abcd" * 40)
    assert bytes(data.stream_of("train")[0])[:4] == b"abcd"


def test_the_text_that_comes_with_python_is_long_and_says_things_once():
    text = help_text()
    assert len(text) > 300_000 and "\0" not in text
    paragraphs = [" ".join(p.split()) for p in text.split("\n\n")]
    assert len(set(paragraphs)) > 0.99 * len(paragraphs)
    assert 2 < 8 * len(lzma.compress(text.encode())) / len(text.encode()) < 4  # prose, not code


def test_models_and_data_have_to_fit():
    for model, data, says in (
        ("dcgan", "text", "data 'text' give text"),
        ("gpt", "mnist", "data=text"),
        ("lstm", "ring", "learns from text"),
    ):
        with pytest.raises(ConfigError) as raised:
            check_overrides([f"model={model}", f"data={data}"])
        assert says in str(raised.value) and "1 configuration mistake" in str(raised.value)


def test_bytes_have_256_tokens(tmp_path):
    with pytest.raises(DataError, match=r"data\.vocabulary"):
        Text(str(tmp_path), str(tmp_path), batch_size=1, vocabulary=100)
