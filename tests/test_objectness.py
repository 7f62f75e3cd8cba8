"""The detector: agrees with ultralytics' own prediction, survives its file, learns from boxes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import needs_data

from signseg_utils.basics.draws import Twister
from signseg_utils.files import weights
from signseg_utils.files.paths import zoo_folder
from signseg_utils.zoos import load_zoo

pytest.importorskip("ultralytics")

from signseg_utils.metrics import objectness  # noqa: E402
from signseg_utils.metrics.objectness import Detector  # noqa: E402
from signseg_utils.training import detector as training  # noqa: E402


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return load_zoo("shapes").images("val", 12).pixels


@pytest.fixture(scope="module")
def config() -> dict:
    return yaml.safe_load(objectness.CONFIG.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A detector trained for two steps."""
    where = tmp_path_factory.mktemp("detector")
    recipe = training.Recipe(steps=2, images=40, held_out=30, batch=8)
    training.train(load_zoo("shapes", where), recipe)
    return where


@pytest.fixture(scope="module")
def spread(config, images) -> torch.nn.Module:
    """A random model, normalised on the images, so that its confidences differ between them."""
    torch.manual_seed(0)
    model = objectness.build(config)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(objectness.prepare(images, 64))
    for branch in model.model[-1].cv3:
        torch.nn.init.constant_(branch[-1].bias, 0.0)
    return model.eval()


def test_agrees_with_prediction_by_ultralytics(spread, config, images):
    from ultralytics import YOLO

    reference = YOLO(str(objectness.CONFIG), task="detect", verbose=False)
    reference.model.load_state_dict(spread.state_dict())
    resized = objectness.prepare(images, 64)
    found = reference.predict(
        resized, conf=1e-6, imgsz=64, device="cpu", verbose=False, save=False, max_det=1
    )
    mine = Detector(spread)
    confidence = torch.tensor([float(result.boxes.conf.max()) for result in found])
    assert confidence.std() > 1e-4
    assert torch.allclose(mine.objectness(images), confidence, atol=1e-4)
    corners = torch.cat([result.boxes.xyxy for result in found])
    clipped = mine.boxes(resized)[:, :4].clamp(0, 64)
    assert torch.allclose(clipped, corners, atol=0.05)


def test_chunks_bytes_and_floats_do_not_matter(spread, images):
    mine = Detector(spread)
    whole = mine.objectness(images)
    assert whole.shape == (12,) and whole.min() >= 0 and whole.max() <= 1
    assert torch.allclose(whole, mine.objectness(images.float() / 255, chunk=5), atol=1e-5)


def test_boxes_are_in_pixels_of_the_images_given(spread, images):
    mine = Detector(spread)
    resized = objectness.prepare(images, 64)
    scaled = mine.boxes(images)[:, :4] * 64 / 48
    assert torch.allclose(scaled, mine.boxes(resized)[:, :4], atol=1e-3)


def test_trained_saved_loaded(folder, images):
    card = json.loads((folder / "detector.json").read_text())
    assert card["kind"] == "detector" and card["scores"]["images_seen"] == 16
    assert {"precision", "recall", "mAP50"} <= set(card["scores"])
    assert (folder / "detector.safetensors").stat().st_size < 3e6
    assert sorted(p.name for p in folder.iterdir()) == ["detector.json", "detector.safetensors"]
    loaded = load_zoo("shapes", folder).detector()
    assert loaded.card["sha256"] == card["sha256"]
    assert torch.equal(loaded.objectness(images), Detector.load(folder).objectness(images))


def test_training_changes_weights_and_repeats_with_its_seed(folder, config, tmp_path):
    recipe = training.Recipe(steps=2, images=40, held_out=30, batch=8)
    training.train(load_zoo("shapes", tmp_path), recipe)
    first, again = (weights.load(f / "detector.safetensors")[0] for f in (folder, tmp_path))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_missing_and_damaged_files_are_named(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="detector"):
        Detector.load(tmp_path)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "detector.safetensors").write_bytes(b"damaged")
    with pytest.raises(weights.DamagedWeights, match="sha256"):
        Detector.load(tmp_path)


def test_bad_images_are_named(spread):
    with pytest.raises(ValueError, match="expected images"):
        Detector(spread).objectness(torch.zeros(3, 48, 48))
    with pytest.raises(ValueError, match="at least one image"):
        Detector(spread).objectness(torch.zeros(0, 3, 48, 48))


def test_ultralytics_is_quiet_and_changes_nothing(config):
    from ultralytics import settings

    threads, save, options = torch.get_num_threads(), torch.save, np.get_printoptions()
    objectness.build(config)
    assert settings["sync"] is False
    assert torch.get_num_threads() == threads and torch.save is save
    assert np.get_printoptions() == options


def test_augmented_boxes_follow_their_objects():
    """A bright rectangle moves with its box."""
    pixels = torch.zeros(40, 3, 64, 64, dtype=torch.uint8)
    pixels[:, :, 24:44, 20:36] = 255
    boxes = torch.tensor([[20.0, 24.0, 36.0, 44.0]]).repeat(40, 1)
    moved, found = training.augment(pixels, boxes, Twister(0))
    bright = moved[:, 0] > 127
    for image, box in zip(bright, found, strict=True):
        rows, columns = image.any(1).nonzero()[:, 0], image.any(0).nonzero()[:, 0]
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert torch.allclose(torch.tensor(edges).float(), box, atol=1.6)
    assert found.std(0).min() > 1  # they did move


def test_half_of_the_augmented_images_keep_their_sharpness():
    pixels = torch.randint(0, 2, (60, 3, 64, 64), dtype=torch.uint8) * 255
    boxes = torch.tensor([[20.0, 24.0, 36.0, 44.0]]).repeat(60, 1)
    moved, _ = training.augment(pixels, boxes, Twister(0))
    sharp = sum(len(image.unique()) == 2 for image in moved)  # a third of the half is blurred
    assert 10 <= sharp <= 30


def test_images_without_object_carry_no_box():
    boxes = torch.tensor([[torch.nan] * 4, [0.0, 16.0, 64.0, 48.0]])
    data = training.Boxes(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), boxes)
    batch = data.__getitems__([0, 1])
    assert batch["batch_idx"].tolist() == [1]
    assert batch["bboxes"].tolist() == [[0.5, 0.5, 1.0, 0.5]]


def test_patches_lie_outside_the_box():
    pixels = torch.zeros(3, 64, 64, dtype=torch.uint8)
    pixels[:, 10:50, 5:35] = 255
    assert training.outside_patch(pixels, torch.tensor([5.0, 10.0, 35.0, 50.0])).max() == 0
    assert training.outside_patch(pixels, torch.tensor([5.0, 10.0, 60.0, 50.0])) is None


def test_scrambling_keeps_the_spectrum_and_loses_the_phases():
    draw = Twister(0)
    pixels = 100 + 20 * draw.rand(3, 32, 32)
    scrambled = training.scrambled(pixels, draw)
    before, after = (torch.fft.rfft2(x).abs()[:, 1:16, 1:16] for x in (pixels, scrambled))
    assert torch.allclose(before, after, rtol=1e-3)
    assert np.corrcoef(pixels.flatten(), scrambled.flatten())[0, 1] < 0.2


def test_shuffled_tiles_keep_every_pixel():
    pixels = torch.arange(3 * 64 * 64).view(3, 64, 64)
    shuffled = training.shuffled_tiles(pixels, Twister(0))
    assert torch.equal(shuffled.flatten().sort().values, pixels.flatten().float())
    assert not torch.equal(shuffled, pixels.float())


def test_natural_images_gain_images_without_object():
    drawn = load_zoo("shapes").dataset("train", 10, empty=0.0)
    joined = training.with_negatives(drawn, seed=0)
    assert len(joined) == 15
    assert joined.boxes[10:].isnan().all() and (joined.labels[10:] == -1).all()


@pytest.mark.parametrize("zoo", ["shapes", "tinyimagenet"])
def test_shipped_detector_tells_objects_from_none(zoo, images_or_skip):
    if not (zoo_folder(zoo) / "detector.safetensors").exists():
        needs_data(f"the detector of {zoo} is not here; `make zoo` trains it")
    loaded = load_zoo(zoo).detector()
    drawn = images_or_skip(zoo, "val", 200)
    if zoo != "shapes":
        drawn = training.with_negatives(drawn, seed=1)
    scores, empty = loaded.objectness(drawn.pixels), drawn.boxes.isnan().any(1)
    assert training._auc(scores[~empty], scores[empty]) > 0.85
    assert loaded.card["scores"]["mAP50"] > 0.3


def test_levels_are_those_of_the_manifest(folder) -> None:
    detector = Detector.load(folder)
    scores = detector.card["scores"]
    assert detector.levels["real objects"] == scores["objectness_with_object"]
    assert detector.levels["no object"] == scores["objectness_without"]
