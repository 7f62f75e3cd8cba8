"""The examples run as they stand, and what the documentation shows is what comes out."""

import doctest
import importlib
import pkgutil
import runpy
from pathlib import Path

import pytest

import signseg_utils

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))
SAYS = {
    "a_metric_of_your_own": "negative ablation:",
    "a_preferred_image": "intact: activation",
    "a_rig_in_the_loop": "best rate of each generation: [",
    "ablate_a_unit": "positive    1: mean response",
    "your_own_network": "10 units, positive to negative weights",
    "your_own_neurons": "correlation with held-out responses",
}


def documented() -> list[str]:
    """Modules that show an example in their source."""
    found = ["signseg_utils"]
    for info in pkgutil.walk_packages(signseg_utils.__path__, "signseg_utils."):
        spec = info.module_finder.find_spec(info.name, None)  # type: ignore[call-arg]
        if spec is not None and spec.origin and ">>> " in Path(spec.origin).read_text("utf-8"):
            found.append(info.name)
    return found


def test_there_is_an_example_for_each_way_of_use() -> None:
    assert {path.stem for path in EXAMPLES} == set(SAYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 30
    monkeypatch.chdir(tmp_path)  # some write a file
    runpy.run_path(str(path), run_name="__main__")
    assert SAYS[path.stem] in capsys.readouterr().out


@pytest.mark.parametrize("name", documented())
def test_documented_examples_give_what_they_show(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


def test_ten_public_functions_show_an_example() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    shown = [
        test.name
        for name in documented()
        for test in finder.find(importlib.import_module(name), name)
        if test.examples and not test.name.rpartition(".")[2].startswith("_")
    ]
    assert len(shown) >= 11, shown  # the package itself, and ten more


def test_the_front_door_opens_what_it_names() -> None:
    for name in signseg_utils.__all__:
        assert callable(getattr(signseg_utils, name))
    with pytest.raises(AttributeError, match="no attribute 'evovle'"):
        signseg_utils.evovle  # noqa: B018
