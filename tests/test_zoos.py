"""Zoos: what ships loads and is what its manifest says; datasets are read in both layouts."""

import csv
import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from signseg_utils.basics import registry
from signseg_utils.files import paths, weights
from signseg_utils.zoos import DatasetMissing, load_zoo
from signseg_utils.zoos._tinyimagenet_classes import CLASSES

ZOOS = registry.names("zoos")


def picture(colour):
    file = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), colour, np.uint8)).save(file, "JPEG", quality=95)
    return file.getvalue()


def as_table(count):
    """The layout with one table of boxes: ``{name: bytes}``; image i is of grey level i."""
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["split", "wnid", "file", "x0", "y0", "x1", "y1"])
    files = {}
    for number, wnid in enumerate(list(CLASSES)[:count]):
        for split in ("train", "val"):
            rows.writerow([split, wnid, f"{wnid}.JPEG", 1, 2, 30, 40 + number % 20])
            files[f"{split}/{wnid}/{wnid}.JPEG"] = picture(2 * number)
    return {"boxes.csv": table.getvalue().encode(), **files}


def as_stanford(count):
    """The public archive's own layout."""
    files, annotations = {}, []
    for number, wnid in enumerate(list(CLASSES)[:count]):
        box = f"1\t2\t30\t{40 + number % 20}\n"
        files[f"train/{wnid}/{wnid}_boxes.txt"] = f"{wnid}.JPEG\t{box}".encode()
        files[f"train/{wnid}/images/{wnid}.JPEG"] = picture(2 * number)
        files[f"val/images/val_{number}.JPEG"] = picture(2 * number)
        annotations.append(f"val_{number}.JPEG\t{wnid}\t{box}")
    return {"val/val_annotations.txt": "".join(annotations).encode(), **files}


LAYOUTS = {"tiny-imagenet-100": as_table, "tiny-imagenet-200": as_stanford}


def put(folder, name, files, packed):
    if packed:
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for path, content in files.items():
                archive.writestr(f"{name}/{path}", content)
    for path, content in {} if packed else files.items():
        (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / path).write_bytes(content)


@pytest.mark.parametrize("packed", [True, False], ids=["zip", "folder"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_tinyimagenet_is_read_in_either_layout(tmp_path, monkeypatch, name, packed):
    monkeypatch.setenv("SIGNSEG_DATASETS", str(tmp_path))
    put(tmp_path, name, LAYOUTS[name](len(CLASSES)), packed)
    zoo = load_zoo("tinyimagenet")
    for split in ("train", "val"):
        images = zoo.images(split)
        assert sorted(images.labels.tolist()) == list(range(100))
        grey = images.pixels.float().mean((1, 2, 3))
        torch.testing.assert_close(grey, 2.0 * images.labels, atol=2, rtol=0)
        assert torch.equal(images.boxes[:, 3], 40.0 + images.labels % 20)
    few = zoo.images("val", 7)
    assert len(few) == 7
    assert len(set(few.labels.tolist())) == 7


def test_missing_dataset_says_where_it_was_sought_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNSEG_DATASETS", str(tmp_path))
    with pytest.raises(DatasetMissing, match=r"SIGNSEG_DATASETS.*signseg fetch"):
        load_zoo("tinyimagenet").images("val")


def test_incomplete_archive_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNSEG_DATASETS", str(tmp_path))
    put(tmp_path, "tiny-imagenet-100", as_table(60), packed=True)
    with pytest.raises(DatasetMissing, match="got 60 classes; is the archive complete"):
        load_zoo("tinyimagenet").images("val")


@pytest.mark.parametrize("zoo", ZOOS)
def test_unknown_names_are_refused_with_the_known_ones(zoo):
    network = load_zoo(zoo).networks[-1]
    with pytest.raises(KeyError, match=f"did you mean .*{network}"):
        load_zoo(zoo).network(network[:-2] + network[-1])
    generator = load_zoo(zoo).generators[-1]
    with pytest.raises(KeyError, match=f"did you mean {generator}"):
        load_zoo(zoo).generator(generator[:-2] + generator[-1])
    with pytest.raises(ValueError, match="'train' or 'val'"):
        load_zoo(zoo).images("test")


def test_unknown_zoo_is_refused():
    with pytest.raises(KeyError, match="did you mean tinyimagenet"):
        load_zoo("tinyimagnet")


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"resnet\.safetensors is missing"):
        load_zoo("shapes", tmp_path).network("resnet")


def test_weights_of_another_architecture_are_refused(tiny_zoo, tmp_path):
    zoo = load_zoo("shapes", tiny_zoo)
    tensors, manifest = weights.load(zoo.path("resnet"))
    tensors["extra"] = tensors.pop("head.0.0.weight")
    other = load_zoo("shapes", tmp_path)
    weights.save(other.path("resnet"), tensors, manifest)
    with pytest.raises(weights.DamagedWeights, match=r"missing keys: \['head.0.0.weight'\]"):
        other.network("resnet")


def artefacts():
    for name in ZOOS:
        folder = paths.zoo_folder(name)
        yield from ((name, path.stem) for path in sorted(folder.glob("*.safetensors")))


@pytest.mark.parametrize(("zoo", "name"), list(artefacts()))
def test_what_ships_is_whole_and_says_how_it_was_made(zoo, name):
    tensors, manifest = weights.load(load_zoo(zoo).path(name))
    assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
    assert {"seed", "seconds", "code_version", "config", "kind"} <= set(manifest)
    assert manifest["dtype"] == "float16"


def test_what_ships_stays_small():
    total = sum(path.stat().st_size for path in paths.data_folder().rglob("*") if path.is_file())
    assert total < 120e6


def shipped(zoo):
    """The zoo's standard networks, and what is there of its families."""
    zoo = load_zoo(zoo)
    there = (name for name in zoo.all_networks if zoo.path(name).exists())
    return list(dict.fromkeys((*zoo.networks, *there)))


@pytest.mark.parametrize("name", shipped("shapes"))
def test_shapes_networks_are_as_good_as_their_cards_say(name):
    zoo = load_zoo("shapes")
    network = zoo.network(name)
    images = zoo.images("val", 1000)
    images = images[images.labels >= 0]
    parts = (network.logits(part.float() / 255).argmax(1) for part in images.pixels.split(64))
    right = (torch.cat(list(parts)) == images.labels).double().mean()
    stated = network.card["accuracy"]["top1"]
    assert abs(float(right) - stated) < 3 * (stated * (1 - stated) / len(images)) ** 0.5 + 0.002


@pytest.mark.parametrize("name", shipped("tinyimagenet"))
def test_tinyimagenet_networks_are_as_good_as_their_cards_say(name, images_or_skip):
    images = images_or_skip("tinyimagenet", "val", 1000)
    network = load_zoo("tinyimagenet").network(name)
    parts = (network.logits(part.float() / 255).argmax(1) for part in images.pixels.split(64))
    right = (torch.cat(list(parts)) == images.labels).double().mean()
    stated = network.card["accuracy"]["top1"]
    assert abs(float(right) - stated) < 3 * (stated * (1 - stated) / len(images)) ** 0.5
