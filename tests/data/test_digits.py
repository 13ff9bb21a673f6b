"""Two sets of digits as domains: UCI's from scikit-learn, USPS from a file in LIBSVM's form."""

import bz2
import shutil
import urllib.error

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from lightning_gen.cli.prepare import main
from lightning_gen.config.compose import compose_data
from lightning_gen.data import usps
from lightning_gen.data.digits import Digits
from lightning_gen.data.uci_digits import UCIDigits
from lightning_gen.data.usps import USPS, read_digits
from lightning_gen.errors import DataError
from tests.data.few_digits import COUNTS, few
from tests.data.trained import batches, joined, levels


def opened(root, kind=Digits, **options):
    data = kind(str(root), str(root / "cache"), batch_size=4, **options)
    data.prepare_data()
    data.setup()
    return data


def write_usps(folder, counts=(30, 20)):
    """Both files, in the form of LIBSVM's collection; the values that were written."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, written = np.random.RandomState(0), {}
    for name, n in zip(("usps.bz2", "usps.t.bz2"), counts, strict=True):
        value, label = draw.uniform(-1, 1, (n, 256)).round(4), np.arange(n) % 10
        value[:, 0], value[:, 1] = -1, 1
        lines = [
            f"{k + 1} " + " ".join(f"{i + 1}:{v:g}" for i, v in enumerate(row))
            for k, row in zip(label, value, strict=True)
        ]
        (folder / name).write_bytes(bz2.compress("\n".join([*lines, ""]).encode()))
        written[name] = value, label
    return written


@pytest.fixture(scope="module")
def uci(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("uci"), UCIDigits)


def test_uci_digits_are_divided_by_class(uci):
    assert (uci.size("train"), uci.size("test")) == (1300, 497)
    shares = [torch.bincount(uci.labels(split), minlength=10) for split in uci.splits]
    share = shares[1] / (shares[0] + shares[1])
    assert (share - 497 / 1797).abs().max() < 0.005


@pytest.mark.parametrize("resolution", [28, 32])
def test_uci_digits_are_those_of_scikit_learn_scaled_once(tmp_path, resolution):
    data, digits = opened(tmp_path, UCIDigits, resolution=resolution), load_digits()
    expected = {}
    for grid, label in zip(digits.images, digits.target, strict=True):
        picture = Image.fromarray((grid / 16 * 255).round().astype(np.uint8))
        large = picture.resize((resolution, resolution), Image.Resampling.BICUBIC)
        expected[np.asarray(large).tobytes()] = int(label)
    found = {}
    for split in data.splits:
        image, label = data.real(split)
        assert image.shape[1:] == data.shape == (1, resolution, resolution)
        for x, k in zip(levels(image), label.tolist(), strict=True):
            found[x.byte().numpy().tobytes()] = k
    assert found == expected and len(found) == 1797


def test_another_division_by_another_seed(uci, tmp_path):
    other = opened(tmp_path, UCIDigits, split_seed=1)
    assert not torch.equal(other.labels("test"), uci.labels("test"))


def test_usps_is_read_as_torchvision_reads_it(tmp_path):
    written = write_usps(tmp_path / "usps")
    data = opened(tmp_path, USPS)
    assert (data.size("train"), data.size("test")) == (30, 20)
    for split, name in usps.FILES.items():
        image, label = read_digits(tmp_path / "usps" / name)
        theirs = torchvision.datasets.USPS(str(tmp_path / "usps"), train=split == "train")
        assert (image == theirs.data).all() and label.tolist() == theirs.targets
        value, digit = written[name]
        assert (label == digit).all()
        np.testing.assert_allclose(image.reshape(-1, 256) / 127.5 - 1, value, atol=0.0079)
        for ours, grid in zip(levels(data.real(split).image), image, strict=True):
            large = Image.fromarray(grid).resize((28, 28), Image.Resampling.BICUBIC)
            assert (ours[0].numpy() == np.asarray(large)).all()


@pytest.mark.parametrize("place", ["usps", "cache/downloads", "cache"])
def test_usps_is_looked_for(tmp_path, place):
    write_usps(tmp_path / place)
    assert opened(tmp_path, USPS).prepared.meta["source"] == str(tmp_path / place)


def test_usps_that_cannot_be_had(tmp_path, monkeypatch):
    def silent(url, timeout):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(usps.urllib.request, "urlopen", silent)
    with pytest.raises(DataError, match="could not be downloaded: no network") as caught:
        opened(tmp_path, USPS)
    assert caught.value.fix == f"put usps.bz2 and usps.t.bz2 into {tmp_path / 'usps'}"


def test_downloaded_usps_is_compared_with_torchvision_s(tmp_path, monkeypatch):
    write_usps(tmp_path / "server")

    class Server:
        def __init__(self, url, timeout):
            self.file = tmp_path / "server" / url.rpartition("/")[2]

        def __enter__(self):
            return self.file.open("rb")

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(usps.urllib.request, "urlopen", Server)
    with pytest.raises(DataError, match=r"MD5 of https.*usps\.bz2 is \w{32}, expected ec16c5"):
        opened(tmp_path, USPS)
    assert not list((tmp_path / "cache" / "downloads").iterdir())
    lists = {
        split: [url, name, usps.md5((tmp_path / "server" / name).read_bytes()).hexdigest()]
        for split, (url, name, _) in torchvision.datasets.USPS.split_list.items()
    }
    monkeypatch.setattr(torchvision.datasets.USPS, "split_list", lists)
    assert opened(tmp_path, USPS).size("train") == 30


def damaged(line):
    return bz2.compress(f"{line}\n".encode())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no bz2", "not USPS's digits"),
        (damaged("1 1:0.5 2:x"), "not USPS's digits"),
        (damaged("1 257:0.5"), "not USPS's digits"),
        (damaged("11 1:0.5"), "classes must be 1 to 10"),
        (damaged("0 1:0.5"), "classes must be 1 to 10"),
        (damaged("1 1:1.5"), "values -1 to 1"),
        (damaged("1 1:nan"), "values -1 to 1"),
        (damaged(""), "not USPS's digits"),
        (damaged("1 1:0.5")[:-4], "not USPS's digits"),
    ],
)
def test_damaged_usps_is_named(tmp_path, data, said):
    file = tmp_path / "usps.bz2"
    file.write_bytes(data)
    with pytest.raises(DataError, match=said) as caught:
        read_digits(file)
    assert caught.value.where == file


def test_usps_that_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(usps, "MAX_BYTES", 1000)
    write_usps(tmp_path)
    with pytest.raises(DataError, match="more than 1,000 bytes"):
        read_digits(tmp_path / "usps.bz2")


@pytest.mark.parametrize("order", [("mnist", "uci"), ("uci", "mnist"), ("usps", "mnist")])
def test_domains_in_either_order(tmp_path, monkeypatch, order):
    few(monkeypatch)
    write_usps(tmp_path / "usps")
    sizes = {
        "mnist": COUNTS,
        "uci": {"train": 1300, "test": 497},
        "usps": {"train": 30, "test": 20},
    }
    data = opened(tmp_path, a=order[0], b=order[1], resolution=32)
    assert data.splits == ("train_a", "train_b", "test_a", "test_b")
    assert data.shape == data.shape_a == (1, 32, 32) and data.num_classes == 10
    for domain, name, source in zip("ab", order, data.sources, strict=True):
        for split in ("train", "test"):
            assert data.size(f"{split}_{domain}") == sizes[name][split]
            assert torch.equal(data.labels(f"{split}_{domain}"), source.labels(split))
            mine, theirs = data.real(f"{split}_{domain}", [3]), source.real(split, [3])
            assert torch.equal(mine.image, theirs.image) and torch.equal(mine.label, theirs.label)
    data.verify()


def test_batches_are_labelled_and_of_both(tmp_path, monkeypatch):
    few(monkeypatch)
    data = opened(tmp_path)
    seen = joined(batches(data, stop=15))
    rows = torch.cat([data.real("train_a").image.flatten(1), data.real("train_b").image.flatten(1)])
    labels = torch.cat([data.labels("train_a"), data.labels("train_b")])
    for images, label, own in (
        (seen.a, seen.label_a, slice(0, 60)),
        (seen.b, seen.label_b, slice(60, None)),
    ):
        place = torch.cdist(images.flatten(1), rows[own]).argmin(1)
        assert torch.equal(rows[own][place], images.flatten(1))
        assert torch.equal(labels[own][place], label)
    assert (torch.bincount(seen.label_a, minlength=10) == 6).all()


def test_fingerprint_follows_both_sets_and_their_order(tmp_path, monkeypatch):
    few(monkeypatch)
    prints = {
        opened(tmp_path, **options).fingerprint
        for options in ({}, {"a": "uci", "b": "mnist"}, {"split_seed": 1}, {"resolution": 32})
    }
    assert len(prints) == 4 and opened(tmp_path).fingerprint in prints


def test_pair_needs_two_sets_of_one_size(tmp_path):
    with pytest.raises(DataError, match="both domains are uci"):
        opened(tmp_path, a="uci", b="uci")
    with pytest.raises(DataError, match=r"data.resolution_a is 32, not 28"):
        opened(tmp_path, resolution_a=32)


def test_prepare_verb(tmp_path, monkeypatch, capsys):
    few(monkeypatch)
    assert main(["digits", f"paths.data={tmp_path}", "verify=true"]) == 0
    said = capsys.readouterr().out
    assert "train_b     1,300 samples" in said and "test_b      497 samples" in said
    node = compose_data("digits", ["data.a=uci", "data.b=mnist", "data.resolution=32"])
    assert (node["channels_a"], node["resolution_a"]) == (1, 32)


def test_prepared_digits_need_their_sources_no_more(tmp_path, monkeypatch):
    few(monkeypatch)
    write_usps(tmp_path / "cache")
    before = opened(tmp_path, a="usps", b="mnist")
    for file in (tmp_path / "cache").glob("*.bz2"):
        file.unlink()
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    monkeypatch.undo()
    assert opened(tmp_path, a="usps", b="mnist").fingerprint == before.fingerprint
