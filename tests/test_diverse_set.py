"""A diverse set covers what a random one leaves out."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from signseg_utils import zoos
from signseg_utils.experiments import base
from signseg_utils.experiments import diverse_images as diverse_set


def islands(seed: int = 0) -> np.ndarray:
    """Twenty islands in ten dimensions; two of them hold nine of ten images."""
    rng = np.random.default_rng(seed)
    centres = 10 * rng.normal(size=(20, 10))
    crowded = rng.integers(0, 2, 900)
    rare = np.repeat(np.arange(2, 20), 6)
    which = np.concatenate([crowded, rare])
    return centres[which] + 0.1 * rng.normal(size=(len(which), 10))


def test_rare_islands_get_an_image() -> None:
    pool = islands()
    found = diverse_set.choose(pool, 20)
    assert len(set(found.images.tolist())) == 20
    taken = diverse_set.random_sets(len(pool), 20, 1)[0]
    own, chance = (
        (cdist(pool[900::6], pool[rows]).min(1) < 2).mean() for rows in (found.images, taken)
    )
    assert own > 0.7 and chance < 0.3  # share of the 18 islands of six images


def test_last_digits_choose_no_image() -> None:
    rng = np.random.default_rng(3)
    pool = rng.normal(size=(200, 8))  # of 120 clusters many hold two images, as near to the centre
    for seed in range(5):
        chosen = diverse_set.choose(pool, 120, seed=seed).images
        for size in (1e-14, 1e-13):  # what another order of sums does to a double
            other = pool * (1 + size * rng.normal(size=pool.shape))
            np.testing.assert_array_equal(diverse_set.choose(other, 120, seed=seed).images, chosen)


def test_it_covers_more_than_random_sets_in_another_space() -> None:
    pool = islands()
    other = np.tanh(0.1 * pool @ np.random.default_rng(7).normal(size=(10, 30)))
    judge = diverse_set.Judge(other, 20)
    own = judge(diverse_set.choose(pool, 20).images)
    chance = [judge(rows) for rows in diverse_set.random_sets(len(pool), 20, 20)]
    assert own.gap < min(one.gap for one in chance)
    assert own.clusters > max(one.clusters for one in chance)
    assert own.evenness > max(one.evenness for one in chance)


def test_limits_of_coverage() -> None:
    pool = np.random.default_rng(0).normal(size=(30, 5))
    judge = diverse_set.Judge(pool, 30)
    whole = judge(np.arange(30))
    assert whole.gap < 1e-6 and whole.clusters > 0.7
    same = judge(np.zeros(30, dtype=int))
    assert same.clusters == pytest.approx(1 / 30) and same.evenness == 0 and same.gap > 0.5
    with pytest.raises(ValueError, match="expected 30 images"):
        judge([1, 2])


def test_principal_components_hold_the_share_asked_for() -> None:
    pool = islands()
    space = diverse_set.principal(pool, 0.9)
    assert 0.9 <= space.explained.sum() < 1
    assert space(pool).shape == (len(pool), len(space.explained))
    np.testing.assert_allclose(space(pool).mean(0), 0, atol=1e-9)
    assert len(diverse_set.principal(pool, 300).explained) == 10


def test_same_seed_same_set_and_another_pool() -> None:
    pool = islands()
    first, second = (diverse_set.choose(pool, 12, seed=3).images for _ in range(2))
    assert first.tolist() == second.tolist()
    offered = islands(seed=0)[::7]
    found = diverse_set.choose(pool, 12, pool=offered)
    assert found.images.max() < len(offered)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 2 to 30"):
        diverse_set.choose(np.ones((30, 3)), 31)
    with pytest.raises(ValueError, match="finite"):
        diverse_set.principal(np.full((30, 3), np.nan))
    with pytest.raises(FileNotFoundError, match="expected images"):
        diverse_set.image_files([tmp_path])
    for name in ("b.png", "a.JPG", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in diverse_set.image_files([tmp_path])] == ["a.JPG", "b.png"]


def test_a_study_is_stored_and_read(
    tiny_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    study = diverse_set.DiverseImages("shapes", ("alexnet", "resnet"), 20, 120, (0, 1), 6)
    (found,) = base.run([study], zoo, tmp_path / "out")
    assert found["gap"].dims == ("chooser", "set", "judge")
    assert found["judge"].values.tolist() == ["resnet"]
    assert found["chooser"].values.tolist() == ["alexnet", "pixels"]
    assert found["random_gap"].shape == (6, 1)
    assert (found["gap"] > 0).all() and (found["gap"] < 1).all()
    assert base.demand(base.audit([study], [found], zoo)) == 2 * (20 + 3)
    with monkeypatch.context() as patched:
        patched.setattr(diverse_set, "measure", None)  # what is stored is not computed again
        assert base.run([study], zoo, tmp_path / "out")[0].equals(found)
    with pytest.raises(ValueError, match="must not judge"):
        diverse_set.measure(
            zoo.images("val", 5).pixels,
            {"alexnet": zoo.network("alexnet")},
            diverse_set.DiverseImages("shapes", ("alexnet",)),
        )
