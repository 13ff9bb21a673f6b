import os
import re
import subprocess

from lightning_gen.runs import provenance


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    subprocess.run(command, check=True, capture_output=True)


def test_git_state(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    assert provenance.git_state(tmp_path) is None
    git(tmp_path, "init")
    assert provenance.git_state(tmp_path) is None, "no commit yet"
    (tmp_path / ".gitignore").write_text("venv/\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--no-gpg-sign", "-m", "a")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    clean = provenance.git_state(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", clean["commit"])
    assert clean["dirty"] is False
    (tmp_path / "new.py").touch()
    assert provenance.git_state(tmp_path) == {**clean, "dirty": True}
    (tmp_path / "venv").mkdir()
    assert provenance.git_state(tmp_path / "venv") is None, (
        "an ignored folder is not of that commit"
    )


def test_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state(tmp_path) is None


def test_describe_has_what_runs_and_where():
    facts = provenance.describe(["/a/b/lightning-gen", "train", "seed=1"], "devices=1")
    assert facts["command"] == "lightning-gen train seed=1"
    assert {"torch", "pytorch-lightning", "numpy"} <= set(facts["versions"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", facts["time"])


def test_wandb_ids():
    ids = {provenance.new_wandb_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[0-9a-z]{8}", name) for name in ids)


def test_secrets_of_a_command(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "tok-from-env")
    command = [
        "/x/lightning-gen",
        "+logger.api_key=s3cret1",
        "logger={project: p, password: s3cret2}",
        "--token",
        "s3cret3",
        "--hf-token=s3cret4",
        "paths.data=https://me:s3cret5@host/x",
        "note=tok-from-env",
        "model.num_tokens=512",
        "tokenizer=bpe",
    ]
    shown = provenance.redact_command(command)
    assert "s3cret" not in shown
    assert "tok-from-env" not in shown
    assert shown.endswith("model.num_tokens=512 tokenizer=bpe")
    assert shown.count("<redacted>") == 6
