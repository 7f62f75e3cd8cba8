"""The command ``signseg``: a page for newcomers, errors in one line, one module a subcommand."""

import subprocess
import sys
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from signseg_utils import cli, experiments
from signseg_utils.cli import experiment
from signseg_utils.experiments import audits, feature_images, sweep
from signseg_utils.experiments.base import Experiment
from signseg_utils.search.rig import MANIFEST, RATES
from signseg_utils.zoos import load_zoo


def test_help_names_every_command_and_loads_none_of_them() -> None:
    check = (
        "import sys; from signseg_utils.cli import main; main(['--help']); "
        "sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for name in cli.COMMANDS:
        assert f"  {name} " in run.stdout


def test_every_file_is_a_command_and_every_command_a_file() -> None:
    files = {path.stem for path in Path(cli.__file__).parent.glob("[!_]*.py")}
    assert files == set(cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_tells_what_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(f"signseg_utils.cli.{name}").main(["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: signseg {name}")


@pytest.mark.parametrize(("name", "module"), experiments.modules().items())
def test_each_experiment_tells_what_it_takes(
    name: str, module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = import_module(module).PLUGIN
    with pytest.raises(SystemExit) as ended:
        experiment.main([name, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and said.startswith(f"usage: signseg experiment {name}")
    for option in kind.options():
        assert f"--{option.name.replace('_', '-')} " in said and option.meaning.split()[0] in said


def test_every_kind_of_result_is_an_experiment_that_is_found_by_its_file() -> None:
    below = [Experiment]
    for kind in below:
        below += kind.__subclasses__()
    made = {one for one in below if not isabstract(one) and one.__module__.startswith("signseg")}
    assert made == {sweep.Shard, *audits.KINDS}


def test_experiments_are_listed_without_loading_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment.main([]) == 0
    said = capsys.readouterr().out
    for name, module in experiments.modules().items():
        (line,) = [line for line in said.splitlines() if line.startswith(f"  {name} ")]
        assert (import_module(module).__doc__ or "").startswith(line.split(maxsplit=1)[1])


def test_settings_are_read_from_words_as_they_were_declared() -> None:
    words = dict(
        zoo="shapes",
        network="alexnet",
        generator="scenes",
        features="3,5",
        seeds=(0,),
        generations=2,
        optimizer="csa_es",
    )
    zoo = load_zoo("shapes")
    (one,) = feature_images.FeatureImages.asked(SimpleNamespace(**words), zoo)
    assert one.features == (3, 5) and one.seeds == (0,) and one.generations == 2
    shown = {option.name: option.default for option in one.options()}
    assert shown["seeds"] == "0,1" and shown["features"] is None


def test_nothing_else_parses_arguments() -> None:
    room = Path(cli.__file__).parent
    others = [path for path in room.parent.rglob("*.py") if room not in path.parents]
    assert others and not [path for path in others if "argparse" in path.read_text()]


def test_a_misspelt_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["swep"]) == 2
    assert "did you mean sweep" in capsys.readouterr().err


def test_an_error_is_one_line_unless_the_traceback_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["train", "--zoo", "shapes", "--only", "resnett"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: expected a") and "did you mean resnet" in said
    assert "Traceback" not in said
    with pytest.raises(KeyError):
        cli.main(["--traceback", "train", "--zoo", "shapes", "--only", "resnett"])


def test_a_session_goes_on_from_call_to_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["session", str(tmp_path), "--zoo", "shapes", "--generator", "scenes"]
    words += ["--generations", "2", "--population", "4", "--optimizer", "random_search"]
    assert cli.main(words) == 0
    for generation in range(2):
        folder = tmp_path / f"generation_{generation:03d}"
        names = [line.split(",")[0] for line in (folder / MANIFEST).read_text().split()[1:]]
        assert cli.main(words) == 0  # no rates yet: the same images
        rates = np.arange(len(names)) + 10 * generation
        rows = [f"{name},{rate}" for name, rate in zip(names, rates, strict=True)]
        (folder / RATES).write_text("name,rate\n" + "\n".join(rows) + "\n")
        assert cli.main(words) == 0
    assert f"best rate of each run: {rates.max()}" in capsys.readouterr().out
