"""E9: a file that is not YAML, or no configuration, is named with line and column."""

import pytest

from tests.config.refusal import refusal


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seed: 1\nseed: 2\n", [":3:1: is not YAML", "duplicate key seed"]),
        ("model:\n\tlatent_dim: 3\n", [":3:1: is not YAML", "cannot start any token"]),
        ("model: [1, 2\nseed: 3\n", [":3:5: is not YAML"]),
        ("defaults:\n  - override /model: dcgn\n", ["model/dcgn: there is no such", "'dcgan'"]),
        ("modle:\n  latent_dim: 3\ndata: {batchsize: 3}\n",
         ["modle: unknown key; did you mean 'model'", "'data.batch_size'"]),
        ("model: {G: dcgan, optimizers: {G: 3}}\ncallbacks: {scores: 3}\n",
         ["model.G: must be a mapping with _target_", "model.optimizers.G: must"]),
        ("trainer: 3\nbudget: [1]\n", ["Cannot merge"]),
    ],
)  # fmt: skip
def test_E09_bad_experiment_files(tmp_path, monkeypatch, text, parts):
    (tmp_path / "bad.yaml").write_text(f"# @package _global_\n{text}")
    monkeypatch.setenv("LIGHTNING_GEN_EXPERIMENTS", str(tmp_path))
    report = refusal("experiment=bad")
    for part in parts:
        assert part in report
    if "is not YAML" in parts[0]:
        assert str(tmp_path / "bad.yaml") in report


@pytest.mark.parametrize("content", [b"seed: 3\n", b"", b"- a\n", b"text", b"\xff\xfe\x00"])
def test_E09_experiment_files_that_are_none(tmp_path, monkeypatch, content):
    (tmp_path / "bad.yaml").write_bytes(content)
    monkeypatch.setenv("LIGHTNING_GEN_EXPERIMENTS", str(tmp_path))
    assert "# @package _global_" in (text := refusal("experiment=bad")) or "UTF-8" in text
