"""E10: a key in the environment or on the command line is nowhere in the run's folder."""

import json

from tests.system.harness import only_run, tiny, train

KEYS = {"WANDB_API_KEY": "0123456789abcdef" * 4, "SOME_SERVICE_TOKEN": "t0ps3cret-t0ken-value"}


def test_E10_no_file_of_a_run_holds_a_key(tmp_path, mnist_root):
    words = [w for w in tiny("gan", tmp_path, mnist_root, iterations=4) if w != "logger=none"]
    words += ["logger=wandb", "logger.mode=offline", "callbacks.scores=null"]
    words.append(f"tags=[{KEYS['SOME_SERVICE_TOKEN']}]")
    assert train(words, environment=KEYS) == 0
    run = only_run(tmp_path)
    files = [path for path in run.rglob("*") if path.is_file()]
    assert any(path.suffix == ".ckpt" for path in files)
    assert any(path.suffix == ".wandb" for path in files)
    for path in files:
        content = path.read_bytes()
        for name, value in KEYS.items():
            assert value.encode() not in content, (name, path)
    assert "<redacted>" in json.dumps((run / "config.yaml").read_text())
