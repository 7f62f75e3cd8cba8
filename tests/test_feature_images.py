"""Preferred images of single features: found, stored, measured."""

from pathlib import Path

import numpy as np
import pytest
import torch

from signseg_utils import zoos
from signseg_utils.experiments import base, feature_images
from signseg_utils.experiments.feature_images import FeatureImages


def test_a_row_reads_its_feature() -> None:
    seen = torch.rand(5, 7)
    rows = feature_images.single((6, 2), 7)
    torch.testing.assert_close(rows.responses(seen), seen[:, [6, 2]])
    with pytest.raises(IndexError, match="below 7; got 2 to 9"):
        feature_images.single((2, 9), 7)


def test_images_activate_their_feature_and_are_stored(tiny_zoo: Path, tmp_path: Path) -> None:
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    wish = FeatureImages("shapes", "alexnet", "scenes", (3, 0), (0, 1), generations=4)
    (found,) = base.obtain([wish], zoo, tmp_path / "results").found
    pictures = feature_images.images(found, zoo.generator("scenes"))
    assert pictures.shape[:2] == (2, 3)
    backbone = zoo.network("alexnet").backbone
    with torch.inference_mode():
        answers = backbone(pictures)
    best = found["activation"].max("seed").values
    np.testing.assert_allclose(answers[[0, 1], [3, 0]], best, rtol=1e-3, atol=1e-4)
    assert len(list((tmp_path / "results").glob("*.zarr.zip"))) == 1
    assert base.demand(base.audit([wish], [found], zoo)) == 4
    with pytest.raises(base.AuditError, match="recompute"):
        spoilt = found.assign(activation=found["activation"] + 1)
        base.demand(base.audit([wish], [spoilt], zoo))
    assert FeatureImages("shapes", "alexnet", "scenes", (0, 3)).key != wish.key
    extent = feature_images.extents(pictures, backbone, wish.features, 0, count=8)
    assert extent.shape == (2,) and all(np.isnan(e) or 0 < e <= 1 for e in extent)


def test_a_feature_that_sees_one_corner_is_local() -> None:
    stripes = (torch.arange(48) // 3 % 2).float()[None, :, None].expand(3, 48, 48)

    class Corner(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """Likeness to the stripes in one corner, and in the whole image."""
            likeness = ((images - 0.5) * (stripes - 0.5)).mean(1)
            return torch.stack([likeness[:, :12, :12].mean((1, 2)), likeness.mean((1, 2))], 1)

    small, large = feature_images.extents(
        torch.stack([stripes, stripes]), Corner(), (0, 1), 0, count=120, least=0.02
    )
    assert small < 0.3 < large


def test_finer_stripes_are_so_many_octaves_finer() -> None:
    place = torch.arange(64) / 64
    waves = [(2 * torch.pi * cycles * place).sin() * 0.5 + 0.5 for cycles in (4, 16)]
    images = torch.stack([wave.expand(3, 64, 64) for wave in waves])
    coarse, fine = feature_images.octaves(images)
    assert fine - coarse == pytest.approx(2, abs=0.15)


def test_halves_are_told_by_sign() -> None:
    groups = feature_images.by_sign(np.array([1.0, np.nan, 3.0, 4.0]))
    assert {sign: own.tolist() for sign, own in groups.items()} == {
        "positive": [1.0],
        "negative": [3.0, 4.0],
    }
    assert feature_images.means(groups)["negative"].value == 3.5
    rows, labels = feature_images.grid(torch.arange(10.0), across=4)
    assert [row.tolist() for row in rows] == [[0, 1, 2, 3], [4], [5, 6, 7, 8], [9]]
    assert labels == ["positive in most"] * 2 + ["negative in most"] * 2
