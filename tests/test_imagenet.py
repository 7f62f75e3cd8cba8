"""Zoo imagenet reads every published layout strictly, and computes what the originals compute."""

import dataclasses
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import checked, made
from safetensors.torch import save_file
from small_imagenet import (
    BIGGAN,
    TINY,
    SmallImageNet,
    biggan,
    linear_layout,
    make,
    network,
    remote,
    robust_layout,
    yolo,
)
from torch import nn

from signseg_utils import selection
from signseg_utils.basics import registry
from signseg_utils.chapter import parameters
from signseg_utils.experiments import base, sweep
from signseg_utils.experiments.sweep import estimating
from signseg_utils.files import checkpoints
from signseg_utils.files.fetch import FetchError, Offline, WrongHash
from signseg_utils.files.weights import DamagedWeights
from signseg_utils.generators import deepsim
from signseg_utils.generators.biggan import DEEP_256, BigGAN
from signseg_utils.generators.deepsim import DeepSim
from signseg_utils.metrics.objectness import Detector
from signseg_utils.networks import simsiam
from signseg_utils.networks._cut import MEAN, STD, torchvision_model
from signseg_utils.networks.torchvision import Torchvision
from signseg_utils.search.evolution import Search
from signseg_utils.zoos import DatasetMissing, load_zoo
from signseg_utils.zoos._imagenet_classes import UNITS, class_names
from signseg_utils.zoos.imagenet import ImageNet


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> SmallImageNet:
    folder = tmp_path_factory.mktemp("imagenet")
    return SmallImageNet(folder, make(SmallImageNet, folder))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNSEG_OFFLINE", "1")
    monkeypatch.delenv("SIGNSEG_MIRROR", raising=False)


def copied(zoo: SmallImageNet, folder: Path, *names: str) -> SmallImageNet:
    """A zoo of some of the files, to be spoilt."""
    for name in names:
        (folder / zoo.file(name)).write_bytes(zoo.path(name).read_bytes())
    return SmallImageNet(folder, zoo.remotes)


# Classes


def test_classes_are_a_thousand_and_the_units_those_of_the_captions() -> None:
    zoo = load_zoo("imagenet")
    assert len(zoo.classes) == len({name.lower() for name in zoo.classes}) == 1000
    assert not any("," in name for name in zoo.classes)
    assert zoo.default_units == (
        "tench",
        "English springer",
        "cassette player",
        "chain saw",
        "church",
        "French horn",
        "garbage truck",
        "gas pump",
        "golf ball",
        "parachute",
        "macaque",
    )
    assert [zoo.classes.index(unit) for unit in zoo.default_units] == list(UNITS)


def test_names_that_are_there_twice_get_their_numbers() -> None:
    assert class_names(["crane", "Cardigan", "cardigan", "crane", "maillot"]) == (
        "crane (0)",
        "Cardigan (1)",
        "cardigan (2)",
        "crane (3)",
        "maillot",
    )


def test_parameters_know_the_zoo() -> None:
    run = selection.parse(
        {"zoo": "imagenet", "networks": "alexnet,robust", "units": "", "generators": ""}
    )
    assert run.networks == ("alexnet", *(f"resnet50-linf-{e}" for e in ("0.5", 1, 2, 4, 8)))
    assert run.units == load_zoo("imagenet").default_units
    assert run.generators == ("deepsim", "biggan")
    assert len(selection.parse({"zoo": "imagenet", "units": "all"}).units) == 1000
    with pytest.raises(parameters.ParameterError, match="did you mean macaque"):
        selection.parse({"zoo": "imagenet", "units": "macaqe"})


def test_every_file_has_its_source() -> None:
    zoo = ImageNet()
    files = {zoo.file(name) for name in (*zoo.all_networks, *zoo.generators)}
    assert files <= set(zoo.remotes)
    assert set(zoo.judges) <= set(zoo.all_networks)
    assert len(zoo.judges) == 7  # paper, A.1


def test_images_are_said_to_be_elsewhere() -> None:
    with pytest.raises(DatasetMissing, match="tinyimagenet"):
        load_zoo("imagenet").images("val")


# Networks


def answers(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What the published network says to images in 0..1."""
    images = F.interpolate(images, (32, 32), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return model((images - mean) / std)


@pytest.mark.parametrize("name", SmallImageNet().all_networks)
def test_each_layout_gives_the_network_that_was_written(zoo: SmallImageNet, name: str) -> None:
    seed = zoo.all_networks.index(name)
    images = torch.rand(3, 3, 48, 48)
    loaded = zoo.network(name)
    expected = answers(network(zoo.config(name), seed), images)
    torch.testing.assert_close(loaded.logits(images), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in loaded.backbone.modules())
    assert loaded.readout.labels == zoo.classes
    assert loaded.card["url"] is not None and loaded.card["licence"]
    if "tanh" in name:
        assert loaded.backbone(images).min() < 0 <= zoo.network("resnet50").backbone(images).min()


def test_cut_networks_judge_bfloat16_and_their_own_size(zoo: SmallImageNet) -> None:
    backbone = zoo.network("resnet50").backbone
    images = torch.rand(2, 3, 32, 32)
    wide = F.interpolate(images, scale_factor=2)
    assert backbone(images).shape == (2, 512)
    half = backbone.to(torch.bfloat16)(wide.to(torch.bfloat16)).float()
    assert torch.isfinite(half).all()


def spoilt(tensors: dict, how: str) -> dict:
    if how == "missing":
        return {k: v for k, v in tensors.items() if k != "layer1.0.conv1.weight"}
    if how == "unexpected":
        return {**tensors, "layer9.weight": torch.ones(1)}
    return {**tensors, "layer1.0.conv1.weight": torch.ones(2, 2)}


@pytest.mark.parametrize("how", ["missing", "unexpected", "shape"])
@pytest.mark.parametrize("name", ["resnet50", "resnet50-linf-4", "resnet50-simsiam"])
def test_a_key_that_does_not_fit_is_named(
    zoo: SmallImageNet, tmp_path: Path, name: str, how: str
) -> None:
    wrap = {"torchvision": dict, "robust": robust_layout, "simsiam": linear_layout}
    config = zoo.config(name)
    tensors = spoilt(network(config).state_dict(), how)
    torch.save(wrap[config["source"]](tensors), tmp_path / config["file"])
    remotes = {config["file"]: dataclasses.replace(zoo.remotes[config["file"]], hash=None)}
    key = "layer9.weight" if how == "unexpected" else "layer1.0.conv1.weight"
    with pytest.raises(DamagedWeights, match=key):
        SmallImageNet(tmp_path, remotes).network(name)


def test_robust_files_with_another_normaliser_or_layout_are_refused(zoo: SmallImageNet) -> None:
    plugin = registry.load("networks", "robust")
    whole = robust_layout({"fc.bias": torch.ones(3)})
    assert list(plugin.unpack(whole, "here")) == ["fc.bias"]
    whole["model"]["module.normalizer.new_mean"] = torch.zeros(3, 1, 1)
    with pytest.raises(DamagedWeights, match="new_mean in here to be ImageNet's"):
        plugin.unpack(whole, "here")
    with pytest.raises(DamagedWeights, match=r"got fc\.bias"):
        plugin.unpack({"model": {"fc.bias": torch.ones(3)}}, "here")


def test_simsiam_takes_its_readout_from_a_linear_checkpoint() -> None:
    linear = linear_layout(
        {"conv1.weight": torch.ones(2), "fc.weight": torch.ones(3), "fc.bias": torch.zeros(3)}
    )
    state = {
        "module.encoder.conv1.weight": torch.full((2,), 5.0),
        "module.encoder.fc.0.weight": torch.ones(1),
        "module.predictor.0.weight": torch.ones(1),
    }
    found = simsiam.SimSiam.unpack({"state_dict": state}, "here", linear)
    assert sorted(found) == ["conv1.weight", "fc.bias", "fc.weight"]
    assert found["conv1.weight"][0] == 5
    with pytest.raises(DamagedWeights, match="pre-training checkpoint, which has none"):
        simsiam.SimSiam.unpack({"state_dict": state}, "here")
    with pytest.raises(DamagedWeights, match=r"begin with module\.; got \['fc\.bias'\]"):
        simsiam.SimSiam.unpack({"state_dict": {"fc.bias": torch.ones(1)}}, "here")


# Files


def test_wrong_digits_in_the_name_are_enforced(zoo: SmallImageNet, tmp_path: Path) -> None:
    spoiled = copied(zoo, tmp_path, "resnet50")
    path = spoiled.path("resnet50")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WrongHash, match=r"sha256 [0-9a-f]{8} published"):
        spoiled.network("resnet50")


def test_what_nobody_published_is_recorded_and_enforced(zoo: SmallImageNet, tmp_path: Path) -> None:
    mine = copied(zoo, tmp_path, "resnet50-simsiam")
    mine.network("resnet50-simsiam")
    other = linear_layout(network(TINY, 99).state_dict())
    torch.save(other, mine.path("resnet50-simsiam"))
    with pytest.raises(WrongHash, match="recorded at the first download"):
        mine.network("resnet50-simsiam")


def test_missing_files_say_how_to_get_them(tmp_path: Path) -> None:
    zoo = ImageNet(tmp_path)
    with pytest.raises(Offline, match=r"download.pytorch.org/models/alexnet-owt"):
        zoo.network("alexnet")
    with pytest.raises(FetchError, match=r"resnet18-tanh.pth .*because nobody publishes it"):
        zoo.network("resnet18-tanh")
    with pytest.raises(KeyError, match="did you mean resnet50"):
        zoo.network("resnet5")


def test_code_in_a_file_is_refused_until_somebody_rewrites_it(
    zoo: SmallImageNet, tmp_path: Path
) -> None:
    name, seed = "resnet50-linf-1", zoo.all_networks.index("resnet50-linf-1")
    tensors = network(zoo.config(name), seed).state_dict()
    file = tmp_path / zoo.file(name)
    torch.save({**robust_layout(tensors), "schedule": Path("x")}, file)
    remotes = {file.name: dataclasses.replace(zoo.remotes[file.name], hash=None)}
    mine = SmallImageNet(tmp_path, remotes)
    with pytest.raises(checkpoints.UnsafeCheckpoint, match=rf"{file.name}\.safetensors"):
        mine.network(name)
    rewritten = robust_layout({k: v.clone() for k, v in tensors.items()})["model"]
    save_file({k: v.clone() for k, v in rewritten.items()}, f"{file}.safetensors")
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(mine.network(name).logits(images), zoo.network(name).logits(images))
    assert mine.fingerprint(name) != zoo.fingerprint(name)
    save_file({"model.a": torch.ones(1)}, f"{file}.safetensors")
    with pytest.raises(WrongHash):
        mine.network(name)


# Generators


def xdream(tensors: dict) -> dict:
    """The other public layout of the same weights; it has no biases on convolutions."""
    pairs = dict(deepsim._LINEAR)
    pairs |= {ours: theirs for ours, theirs, *_ in deepsim._CONVOLUTIONS}
    named = {(key.split(".")[0], key.split(".")[1]): value for key, value in tensors.items()}
    return {
        f"{pairs[layer]}.{part}": value
        for (layer, part), value in named.items()
        if part == "weight" or layer.startswith("defc")
    }


def test_deepsim_layouts_are_one_generator() -> None:
    torch.manual_seed(0)
    source = DeepSim(thinner=16)
    source.deconv0.weight.data.mul_(300)
    for name, value in source.named_parameters():
        if name.endswith("bias") and "fc" not in name:
            value.data.zero_()
    tensors = source.state_dict()
    codes = 3 * torch.randn(4, 256)
    expected = source(codes)
    layouts = {
        "plain": tensors,
        "dotted": {k.replace(".", ".1.", 1): v for k, v in tensors.items()},
        "prefixed": {f"G.{k}": v for k, v in tensors.items()},
        "entry": {"state_dict": tensors},
        "xdream": xdream(tensors),
    }
    for layout in layouts.values():
        assert torch.equal(DeepSim(thinner=16).take(layout, "here")(codes), expected)
    assert expected.shape == (4, 3, 256, 256)
    assert 0 <= expected.min() < expected.max() <= 1


def test_deepsim_colours_are_turned_and_centred() -> None:
    generator = DeepSim(thinner=32)
    for value in generator.parameters():
        value.data.zero_()
    generator.deconv0.bias.data = torch.tensor([-4.0, 0.0, 1000.0])  # blue, green, red
    image = generator(torch.randn(1, 128))[0, :, 0, 0] * 255
    torch.testing.assert_close(image, torch.tensor([255.0, 117.0, 100.0]))


@pytest.mark.parametrize("key", ["conv4_1.weight", "defc6.bias"])
def test_deepsim_names_a_key_that_does_not_fit(key: str) -> None:
    tensors = DeepSim(thinner=32).state_dict()
    with pytest.raises(DamagedWeights, match=rf"missing keys: \['{key}'\]"):
        DeepSim(thinner=32).take({k: v for k, v in tensors.items() if k != key}, "here")
    with pytest.raises(DamagedWeights, match=rf"{key} \(1,\) where"):
        DeepSim(thinner=32).take({**tensors, key: torch.ones(1)}, "here")
    other = {k: v for k, v in xdream(tensors).items() if k != "tconv4_1.weight"}
    with pytest.raises(DamagedWeights, match="conv4_1.weight"):
        DeepSim(thinner=32).take(other, "here")


@pytest.mark.parametrize("truncation", [0.7, 0.71, 1.0])
def test_biggan_equals_the_package(truncation: float) -> None:
    reference = biggan()
    config = reference.config.to_dict()
    generator = BigGAN(config, truncation).take(reference.state_dict(), "here").eval()
    codes = generator.initial_codes([0, 1, 2]) + 0.3 * torch.randn(3, 16)
    with torch.no_grad():
        expected = (reference.generator(codes, truncation) + 1) / 2
        found = generator(codes)
    assert found.shape == expected.shape == (3, 3, 16, 16)
    assert expected.std() > 0.05
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-6)
    assert generator.conv_to_rgb.out_channels == 3


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("generator.layers.2.gamma", "missing"),
        ("generator.gen_z.weight_v", "missing"),
        ("generator.layers.0.bn_0.running_vars", "missing"),
        ("embeddings.weight", "missing"),
        ("discriminator.weight", "unexpected"),
    ],
)
def test_biggan_is_loaded_strictly(key: str, message: str) -> None:
    tensors = biggan().state_dict()
    config = biggan().config.to_dict()
    if message == "missing":
        tensors.pop(key)
    else:
        tensors[key] = torch.ones(1)
    with pytest.raises(DamagedWeights, match=rf"{message} keys: \['{key}'\]"):
        BigGAN(config).take(tensors, "here")


def test_biggan_of_another_size_is_refused() -> None:
    wide = biggan({**BIGGAN, "channel_width": 16}).state_dict()
    with pytest.raises(DamagedWeights, match="where .* is expected"):
        BigGAN(biggan().config.to_dict()).take(wide, "here")


def test_starting_codes_are_the_papers() -> None:
    small = BigGAN(biggan().config.to_dict())
    codes = small.initial_codes([3, 4, 3])
    assert torch.equal(codes[0], codes[2]) and not torch.equal(codes[0], codes[1])
    assert (codes[:, 8:] == 0).all() and 0 < codes[:, :8].abs().max() <= 1.4
    assert (BigGAN.initial_sigma, DeepSim.initial_sigma) == (0.2, 3.0)
    faint = DeepSim(thinner=16).initial_codes([0, 1, 0])
    assert torch.equal(faint[0], faint[2])
    assert faint.norm(dim=1).max() < 0.15 * 256**0.5


# Judges of images


def test_objectness_is_the_highest_confidence_of_any_class(tmp_path: Path) -> None:
    model = yolo(tmp_path / "yolo11m.pt")
    for layer in model.model[-1].cv3:  # else all confidences are near 0 and alike
        layer[-1].bias.data.normal_()
    content = torch.load(tmp_path / "yolo11m.pt", weights_only=False)
    torch.save({**content, "model": model.half()}, tmp_path / "yolo11m.pt")
    images = torch.rand(3, 3, 64, 64)
    raw = model.float()(images)[0]  # [image, 4 + class, box]
    detector = Detector.published(tmp_path / "yolo11m.pt", 64)
    expected = raw[:, 4:].amax((1, 2))
    torch.testing.assert_close(detector.objectness(images), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(detector.boxes(images)[:, 4], expected, rtol=1e-3, atol=1e-3)
    assert detector.levels == {}


def test_a_detector_with_foreign_code_is_refused(tmp_path: Path) -> None:
    yolo(tmp_path / "a.pt")
    content = torch.load(tmp_path / "a.pt", weights_only=False)
    torch.save({**content, "ema": Path("x")}, tmp_path / "a.pt")
    with pytest.raises(checkpoints.UnsafeCheckpoint, match="pathlib"):
        Detector.published(tmp_path / "a.pt")
    torch.save({"model": nn.Linear(1, 1)}, tmp_path / "a.pt")
    with pytest.raises(DamagedWeights, match="got Linear"):
        Detector.published(tmp_path / "a.pt")


def test_lpips_is_the_real_one(tmp_path: Path) -> None:
    features = torchvision_model({"arch": "alexnet"})[0].features.state_dict()
    path = tmp_path / "alexnet-owt-7be5be79.pth"
    torch.save({f"features.{key}": value for key, value in features.items()}, path)
    measure = ImageNet(tmp_path, {path.name: remote(path)}).perceptual("alexnet")
    assert measure.form == "lpips alexnet"
    images = torch.rand(2, 3, 64, 64)
    assert (measure.distance(images, images).values == 0).all()
    assert (measure.distance(images, images.flip(0)).values > 0).all()


# A sweep, and what it takes


def test_a_sweep_runs_and_is_audited(
    zoo: SmallImageNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = "signseg_utils.zoos.imagenet.PLUGIN"
    monkeypatch.setattr(plugin, lambda folder=None: SmallImageNet(zoo.folder, zoo.remotes))
    plan = sweep.plan(
        "imagenet",
        ["alexnet"],
        units=["tench"],
        signs=("positive",),
        alphas=(0.0, 1.0),
        seeds=(0,),
        search=Search(generations=2, population=4),
    )
    found = made(plan, tmp_path, None)
    assert sorted(found["generator"].values.tolist()) == ["biggan", "deepsim"]
    assert checked(plan, tmp_path, None, sample=4) == 4


def test_the_estimate_counts_what_a_sweep_does(
    zoo: SmallImageNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = "signseg_utils.zoos.imagenet.PLUGIN"
    monkeypatch.setattr(plugin, lambda folder=None: SmallImageNet(zoo.folder, zoo.remotes))
    plan = sweep.plan(
        "imagenet",
        ["alexnet"],
        ["deepsim"],
        ["tench"],
        signs=("positive",),
        alphas=(0.0, 1.0),
        seeds=(0, 1),
        search=Search(generations=3, population=4),
    )
    estimate = estimating.counted(plan, load_zoo(plan[0].zoo))
    made(plan, tmp_path, None)
    assert sum(estimate.images.values()) == base.timings(tmp_path)["images"].sum()
    assert (estimate.shards, estimate.searches) == (1, 4)
    size = next(tmp_path.glob("*.zarr.zip")).stat().st_size
    assert size / 3 < estimate.bytes < 3 * size
    with pytest.raises(ValueError, match="only counts"):
        estimate.hours()


def test_hours_follow_from_rates_and_devices() -> None:
    estimate = estimating.Estimate(
        2, 4, {("a", "g"): 3600, ("b", "g"): 7200}, 10**9, {("a", "g"): 1.0, ("b", "g"): 2.0}
    )
    assert estimate.hours() == 2.0
    assert estimate.hours(4) == 0.5
    assert "together 0.5 hours on 4 devices" in estimate.words(4)
    assert "a x g: 1.0 images/s, 1.0 hours" in estimate.words()


def test_the_probe_times_an_image() -> None:
    class Slow(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            time.sleep(0.02 * len(x))
            return x

    for seconds in (0.01, 0.3):  # one pass alone is longer; several fit
        assert 0.02 <= estimating.seconds_an_image(Slow(), torch.ones(4, 1), seconds) < 0.1


def test_the_command_prints_the_plan_of_the_paper_and_runs_nothing(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from signseg_utils.cli.sweep import main

    monkeypatch.setattr(ImageNet, "timing_backbone", lambda *_: nn.Flatten())
    small = {"deepsim": DeepSim(thinner=32), "biggan": BigGAN(biggan().config.to_dict())}
    small["deepsim"].code_size, small["biggan"].code_size = 4096, 256
    monkeypatch.setattr(ImageNet, "timing_generator", lambda _, name: small[name])
    monkeypatch.setattr(estimating, "seconds_an_image", lambda *_: 0.05)
    words = "--zoo imagenet --networks alexnet,vgg16,resnet50,robust --seeds 0-9 --estimate".split()
    main([*words, "--devices", "8", "--out", str(tmp_path), "--signs", "positive,negative"])
    shown = capsys.readouterr().out
    # 8 networks x 11 units x (2 x 10 + 1) conditions x 10 seeds, of 1 + 99 x 40 or 28 images
    searches = 8 * 11 * 21 * 10
    assert f"{2 * searches:,} searches, {searches * (3961 + 2773):,} images" in shown
    assert "on 8 devices like this one" in shown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arch, maps", [("alexnet", 5), ("resnet18", 5)])
def test_published_networks_have_stages(arch: str, maps: int) -> None:
    backbone = Torchvision({"source": "torchvision", "arch": arch}).eval()
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for batchnorm in (m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)):
            batchnorm.running_mean.normal_()
        whole, found = backbone(images), backbone.stages(images)
        folded = backbone.folded()
        again = folded.stages(images)
    assert len(found) == len(backbone.layer_names) == maps
    torch.testing.assert_close(folded(images), whole, rtol=1e-3, atol=1e-3)
    for one, two in zip(found, again, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)
        assert one.ndim == 4 and (one >= 0).all()  # behind the activation
    for stage in range(maps - 1):
        assert {w.shape[1] for w in folded.readers(stage)} == {found[stage].shape[1]}
    assert len(folded.readers(1)) == (2 if arch == "resnet18" else 1)


def test_a_plan_for_gpus_that_are_not_here(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from signseg_utils.cli.sweep import main

    small = DeepSim(thinner=32)
    small.code_size = 4096
    monkeypatch.setattr(ImageNet, "timing_generator", lambda *_: small)
    words = "--zoo imagenet --networks alexnet --generators deepsim --units all --seeds 0"
    words += " --estimate --signs positive --device cuda --devices 8"
    main([*words.split(), "--rate", "10000"])
    images = 1000 * 11 * 3961  # units, conditions of one sign, images of a search
    assert f"{images:,} images" in (shown := capsys.readouterr().out)
    assert f"together {images / 10000 / 8 / 3600:.1f} hours on 8 devices so fast" in shown
    for rate, said in (("0", "above 0 images/s; got 0"), ("", "give --rate")):
        if rate or not torch.cuda.is_available():
            with pytest.raises(SystemExit):
                main([*words.split(), *(["--rate", rate] if rate else [])])
            assert said in capsys.readouterr().err


# Full size


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "vgg16", "resnet50", "resnet50-linf-4"])
def test_full_size_networks(tmp_path: Path, name: str) -> None:
    remotes = make(ImageNet, tmp_path, (name,))
    zoo = ImageNet(tmp_path, remotes)
    loaded = zoo.network(name)
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    whole = network(zoo.config(name), 0)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    expected = whole((images - mean) / std)
    one = expected.std()  # thousands, with random statistics: logits near 0 are differences of such
    torch.testing.assert_close(loaded.logits(images) / one, expected / one, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_full_size_biggan() -> None:
    config = {**DEEP_256, "output_dim": 256, "class_embed_dim": 128}
    reference = biggan(config)
    generator = BigGAN().take(reference.state_dict(), "here").eval()
    codes = generator.initial_codes([0])
    with torch.no_grad():
        expected = (reference.generator(codes, 0.7) + 1) / 2
        torch.testing.assert_close(generator(codes), expected, rtol=0, atol=1e-4)
    assert generator.image_size == 256 and generator.code_size == 256
    assert sum(p.numel() for p in DeepSim().parameters()) > 56e6
