"""Published checkpoints are read without running code, and fitted key by key."""

import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from signseg_utils.files import checkpoints
from signseg_utils.files.checkpoints import UnsafeCheckpoint, fit, read, state_dict
from signseg_utils.files.weights import DamagedWeights


class Touch:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_and_plain_values_are_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    content = {"weight": torch.arange(3.0)}
    save_file(content, file) if suffix == ".safetensors" else torch.save(content, file)
    assert torch.equal(read(file)["weight"], content["weight"])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_code_is_refused_with_advice_and_not_run(tmp_path: Path, zipped: bool) -> None:
    file, trace = tmp_path / "a.ckpt", tmp_path / "ran"
    torch.save({"model": Touch(trace)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpoint, match=r"without running.*a\.ckpt\.safetensors"):
        read(file)
    assert not trace.exists()


def test_only_allowed_classes_are_built(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    torch.save({"model": nn.Sequential(nn.Linear(2, 3))}, file)
    with pytest.raises(UnsafeCheckpoint, match="Sequential|Linear"):
        read(file)
    assert read(file, ("torch.nn.modules",))["model"][0].out_features == 3
    torch.save({"model": nn.Linear(2, 3), "more": Touch(tmp_path / "ran")}, file)
    with pytest.raises(UnsafeCheckpoint):
        read(file, ("torch.nn.modules",))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "spoil",
    [lambda b: b[: len(b) // 2], lambda b: b[:1], lambda b: b"", lambda b: b"<html>log in</html>"],
    ids=["half", "byte", "empty", "page"],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files_are_named(tmp_path: Path, spoil, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    content = {"weight": torch.randn(3000)}
    save_file(content, file) if suffix == ".safetensors" else torch.save(content, file)
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(DamagedWeights, match=rf"expected {re.escape(str(file))}"):
        read(file)


def test_other_pickles_are_no_checkpoints(tmp_path: Path) -> None:
    file = tmp_path / "a.pkl"
    file.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DamagedWeights, match="expected"):
        read(file)


def test_the_state_dict_is_found_under_its_entry() -> None:
    tensors = {"a": torch.ones(1)}
    assert state_dict({"epoch": 3, "model": tensors}, "state_dict", "model") == tensors
    assert state_dict(tensors, "model") == tensors
    for wrong in ({"epoch": 3}, {}, [1, 2], {"model": {"a": 1}}):
        with pytest.raises(DamagedWeights, match="under 'model'"):
            state_dict(wrong, "model")


def test_each_key_that_does_not_fit_is_named() -> None:
    module = nn.Linear(2, 3)
    right = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
    fit(module, right, "here")
    assert torch.equal(module.weight, right["weight"])
    before = module.bias.clone()
    cases = {
        r"missing keys: \['bias'\]": {"weight": torch.zeros(3, 2)},
        r"unexpected keys: \['more'\]": {**right, "more": torch.ones(1)},
        r"weight \(2, 3\) where \(3, 2\)": {**right, "weight": torch.ones(2, 3)},
    }
    for message, tensors in cases.items():
        with pytest.raises(DamagedWeights, match=message):
            fit(module, tensors, "here")
    assert torch.equal(module.bias, before)
    assert issubclass(checkpoints.UnsafeCheckpoint, DamagedWeights)
