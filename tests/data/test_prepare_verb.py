import pytest

from lightning_gen.cli.prepare import main
from lightning_gen.errors import ConfigError, DataError


def test_prepares_and_says_what_lies_where(tmp_path, capsys):
    words = ["ring", f"paths.data={tmp_path}", "data.n_train=500", "data.n_test=50"]
    assert main(words) == 0
    said = capsys.readouterr().out
    (folder,) = (p for p in (tmp_path / "ring").iterdir() if p.is_dir())
    for word in (str(folder), "500 samples", "50 samples", "fingerprint"):
        assert word in said
    assert main([*words, "verify=true"]) == 0
    assert "every byte verified" in capsys.readouterr().out


def test_altered_array_is_found_and_made_anew(tmp_path):
    words = ["grid", f"paths.data={tmp_path}", "data.n_train=500"]
    main(words)
    (file,) = (tmp_path / "grid").glob("*/train_point.npy")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match="SHA-256") as caught:
        main([*words, "verify=true"])
    assert caught.value.where == file and "prepare grid fresh=true" in caught.value.fix
    main([*words, "fresh=true"])
    assert main([*words, "verify=true"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "one data set is prepared at a time"),
        (["ring", "grid"], "one data set is prepared at a time"),
        (["rnig"], "did you mean 'ring'"),
        (["ring", "data.n_trian=5"], "data.n_train"),
        (["ring", "data.n_train=0"], "data.n_train"),
        (["ring", "verify=perhaps"], "verify=perhaps"),
    ],
)
def test_wrong_words(tmp_path, words, said):
    with pytest.raises(ConfigError) as caught:
        main([*words, *([f"paths.data={tmp_path}"] if words else [])])
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_help(capsys):
    assert main(["--help"]) == 0
    assert "verify=true" in capsys.readouterr().out
