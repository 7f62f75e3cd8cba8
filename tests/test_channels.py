"""Where channels are active: known maps, and a tiny network on rendered scenes."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.cli import experiment as command
from signseg_utils.experiments import base
from signseg_utils.experiments import channel_maps as channels
from signseg_utils.files.store import Store


def test_spread_is_the_share_of_places_that_are_alike() -> None:
    maps = torch.zeros(4, 4, 4)
    maps[0], maps[1, 1, 2], maps[2, :2] = 0.3, 5.0, -2.0
    found = channels.spread(maps)
    assert found[:3].tolist() == pytest.approx([1.0, 1 / 16, 0.5])
    assert found[3].isnan()


def test_on_object_is_what_exceeds_the_objects_share() -> None:
    inside = torch.zeros(3, 8, 8)
    inside[:, :4, :4] = 1  # a quarter of the image
    maps = torch.zeros(3, 4, 4)
    maps[0, :2, :2], maps[1, 2:, 2:], maps[2] = 1, 1, 1
    assert channels.on_object(maps, inside).tolist() == pytest.approx([0.75, -0.25, 0.0])


def test_measure_uses_the_strongest_images_of_each_channel() -> None:
    torch.manual_seed(0)
    pixels = torch.zeros(6, 3, 8, 8, dtype=torch.uint8)
    pixels[:3, :, 2, 2] = 255  # a spot inside the object
    pixels[3:, 0] = 20  # a faint sheet
    inside = torch.zeros(6, 8, 8)
    inside[:, :4, :4] = 1
    layer = torch.nn.Conv2d(3, 2, 1, bias=False)
    layer.weight.data = torch.tensor([[0.0, 1, 0], [1, 0, 0]])[:, :, None, None]
    found = channels.measure(torch.nn.Sequential(layer), "0", pixels, inside, strongest=3)
    assert found["spread"].tolist() == pytest.approx([1 / 64, 1.0])
    assert found["on_object"].tolist() == pytest.approx([0.75, 0.0])


def test_boxes_stand_in_for_masks() -> None:
    boxes = torch.tensor([[1.0, 2.0, 3.0, 5.0], [torch.nan] * 4])
    images = zoos.Images(torch.zeros(2, 3, 6, 6, dtype=torch.uint8), torch.tensor([0, -1]), boxes)
    found = channels.regions(images)
    assert found[0].sum() == 6 and bool(found[0, 2:5, 1:3].all())
    assert not found[1].any()


def rows(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"channel": range(4), "on_object": 0.0, **columns})


def test_gap_is_positive_less_negative_whatever_the_order_of_rows() -> None:
    table = rows(spread=[0.2, 0.4, 0.9, np.nan], activity=[1.0, 1, 1, 0])
    share = torch.tensor([[1.0, 1.0, -1.0, 5.0]])
    assert channels.sign_gap(table, "spread", share) == pytest.approx([-0.6])
    assert channels.sign_gap(table[::-1], "spread", share) == pytest.approx([-0.6])


def test_matching_takes_out_what_activity_explains() -> None:
    activity = np.array([1.0, 2.0, 4.0, 8.0])
    table = rows(spread=0.1 * np.log(activity), activity=activity)
    share = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])
    assert channels.sign_gap(table, "spread", share)[0] > 0.1
    assert channels.sign_gap(table, "spread", share, matched=True) == pytest.approx([0], abs=1e-9)


def test_table_and_gaps_of_a_tiny_network(tiny_zoo, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    table = channels.table(zoo, ["resnet"], limit=40)
    assert tuple(table.columns) == channels.COLUMNS
    assert table.groupby("layer").size().to_dict() == {"trunk.0": 4, "trunk.1": 6}
    assert channels.middle(zoo.network("resnet").backbone) == "trunk.1"
    images = torch.rand(2, 3, 3, 48, 48)
    gaps = channels.unit_gaps(zoo, table, "resnet", ["red disc", "blue ring"], images)
    kinds = {"local", "object", "local matched", "object matched"}
    assert set(gaps) == kinds | {f"{kind} middle" for kind in kinds}
    assert {values.shape for values in gaps.values()} == {(2,)}
    assert channels.unit_gaps(zoo, table, "alexnet", ["red disc"], images[:1]) == {}


def test_stored_measures_are_used_only_with_the_weights_they_are_of(
    tiny_zoo, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    zoo, one = zoos.load_zoo("shapes", tiny_zoo), channels.ChannelMaps("shapes", "resnet", 20)
    (made,) = base.run([one], zoo, tmp_path / "results" / "shapes")
    assert base.demand(base.audit([one], [made], zoo)) > 0
    shipped, told = Store(tmp_path / "results" / "shapes"), one.identity(zoo)
    stale = made.drop_attrs().assign(spread=xr.full_like(made["spread"], 0.125))
    shipped.write(one.key, stale, told)
    assert (channels.table(zoo, ["resnet"], limit=20)["spread"] == 0.125).all()
    shipped.write(one.key, stale, {**told, "network_sha256": "other"})
    with pytest.warns(UserWarning, match="network_sha256"):
        again = channels.table(zoo, ["resnet"], limit=20)
    np.testing.assert_array_equal(again["spread"], made["spread"])


def test_without_images_a_standard_network_needs_stored_measures(
    tiny_zoo, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    zoo = zoos.load_zoo("shapes", tiny_zoo)

    def missing(*_: object) -> None:
        raise zoos.DatasetMissing("not here")

    monkeypatch.setattr(zoo, "images", missing)
    with pytest.raises(zoos.DatasetMissing):
        channels.table(zoo, ["resnet"])


def test_command_writes_what_a_chapter_reads(tiny_zoo, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    few = zoos.load_zoo("shapes").images("val", 20)
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    monkeypatch.setattr(zoo, "images", lambda split, limit: few)
    monkeypatch.setattr(channels.zoos, "load_zoo", lambda name: zoo)
    command.main(["channel_maps", "--zoo", "shapes", "--networks", "alexnet"])
    assert "1 networks measured" in capsys.readouterr().out
    plan = [channels.ChannelMaps("shapes", "alexnet")]
    assert len(base.read(plan, zoo, tmp_path / "results" / "shapes")) == 1
