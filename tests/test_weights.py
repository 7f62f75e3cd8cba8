"""Weights on disk: whole, checked, and never silently replaced."""

import json

import pytest
import torch

from signseg_utils.files import weights


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "net.safetensors"
    tensors = {"w": torch.arange(6.0).view(2, 3).half(), "n": torch.tensor(3)}
    weights.save(path, tensors, {"seed": 7})
    return path


def test_round_trip_gives_float32_and_the_manifest(stored):
    tensors, manifest = weights.load(stored)
    assert tensors["w"].dtype == torch.float32
    assert torch.equal(tensors["w"], torch.arange(6.0).view(2, 3))
    assert tensors["n"].dtype == torch.int64
    assert manifest["seed"] == 7
    assert manifest["bytes"] == stored.stat().st_size
    assert manifest["sha256"] == weights.sha256(stored)
    assert "code_version" in manifest


def test_one_changed_byte_is_noticed(stored):
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(weights.DamagedWeights, match="sha256"):
        weights.load(stored)


def test_truncated_file_is_noticed(stored):
    stored.write_bytes(stored.read_bytes()[:-10])
    with pytest.raises(weights.DamagedWeights, match="damaged or was replaced"):
        weights.load(stored)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_missing_file_is_named_with_what_to_do(stored, suffix):
    stored.with_suffix(suffix).unlink()
    with pytest.raises(FileNotFoundError, match=rf"net\{suffix} is missing.*make zoo"):
        weights.load(stored)


def test_failed_write_leaves_the_old_file(stored, monkeypatch):
    before = stored.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights.safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        weights.save(stored, {"w": torch.zeros(1)}, {})
    assert stored.read_bytes() == before
    assert [p.name for p in stored.parent.iterdir() if p.name.startswith(".")] == []


def test_manifest_is_plain_json(stored):
    assert json.loads(stored.with_suffix(".json").read_text())["seed"] == 7
