"""A chapter takes what it declares, of the type it declares, and says so otherwise."""

import math
from pathlib import Path
from typing import Any

import nbformat
import pytest

from signseg_utils import selection
from signseg_utils.basics import registry
from signseg_utils.chapter import parameters
from signseg_utils.chapter.parameters import cast, check, declared, read
from signseg_utils.selection import ParameterError, parse, split
from signseg_utils.units import ablation

CELL = """# Parameters
zoo: str = "shapes"  # which zoo
units: str = ""  # units, comma separated
alphas: str = "0:1:0.5"  # strengths # of ablation
seeds: str = "0-1"  # seeds
generations: int = 40  # generations of the search
sigma: float = 0.5  # step
recompute: bool = False  # do not use "shipped" results
"""


def notebook(cell: str = CELL, tag: str = "parameters", *more: str) -> Any:
    first = nbformat.v4.new_code_cell(cell, metadata={"tags": [tag]})
    others = [nbformat.v4.new_code_cell(source) for source in more]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A"), first, *others])


def namespace(**injected: Any) -> dict[str, Any]:
    """What ``globals()`` holds in a notebook after imports, the cell and injected values."""
    cell = "# Parameters\n" + "".join(f"{name} = None\n" for name in injected)
    found: dict[str, Any] = {"In": ["", cell], "Out": {}, "_i1": "x", "exit": 1, "quit": 1}
    exec("import math\nfrom pathlib import Path\n" + CELL, found)
    return {**found, **injected}


def test_split_strips_and_keeps_order() -> None:
    assert split(" red disc, blue star ,x") == ("red disc", "blue star", "x")
    assert split("  ") == ()


@pytest.mark.parametrize("text", ["a,,b", "a,", "a,b,a"])
def test_split_refuses_gaps_and_repeats(text: str) -> None:
    with pytest.raises(ParameterError, match="expected"):
        split(text)


def test_integers() -> None:
    assert selection.integers("0-3,7") == (0, 1, 2, 3, 7)
    assert selection.integers(" 5 ") == (5,)


@pytest.mark.parametrize("text", ["", "a", "-1", "3-1", "0,0-2", "1.5", "0-"])
def test_integers_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="seeds"):
        selection.integers(text)


def test_spreads() -> None:
    assert selection.spreads("0, .2,5") == (0.0, 0.2, 5.0)
    assert selection.parse({"optimizers": "sep_cma,pycma"}).optimizers == ("sep_cma", "pycma")


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "0,0", "much"])
def test_spreads_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="expected noises like"):
        selection.spreads(text)


def test_fractions() -> None:
    assert selection.fractions("0, .5,1") == (0.0, 0.5, 1.0)
    tenths = selection.fractions("0:1:0.1")
    assert tenths == tuple(i / 10 for i in range(11))
    assert selection.fractions("1,0:0.5:0.25") == (1.0, 0.0, 0.25, 0.5)


@pytest.mark.parametrize(
    "text", ["1.2", "-0.1", "nan", "abc", "", "0:1", "0:1:0", ".5,.5", "0:2:1"]
)
def test_fractions_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="expected"):
        selection.fractions(text)


def test_too_strong_ablation_says_why() -> None:
    with pytest.raises(ParameterError, match=r"between 0 and 1, because .* got 1\.2; use 1"):
        read(namespace(alphas=1.2))


def test_read_parses_every_parameter() -> None:
    run = read(namespace(units="red disc,blue disc", generations=7))
    assert run.units == ("red disc", "blue disc")
    assert run.alphas == (0.0, 0.5, 1.0)
    assert run.seeds == (0, 1)
    assert (run.zoo, run.generations, run.sigma, run.recompute) == ("shapes", 7, 0.5, False)


def test_empty_units_are_the_zoos_own_and_all_is_all() -> None:
    zoo = registry.load("zoos", "shapes")()
    assert read(namespace()).units == zoo.default_units
    assert read(namespace(units="all")).units == tuple(zoo.classes)


def test_units_can_be_drawn() -> None:
    zoo = registry.load("zoos", "shapes")()
    assert read(namespace(units="drawn:3")).units == zoo.in_random_order(3)


@pytest.mark.parametrize("units", ["drawn:0", "drawn:37", "drawn:", "drawn:x", "drawn:-1"])
def test_units_that_cannot_be_drawn_are_refused(units: str) -> None:
    with pytest.raises(ParameterError, match="expected units like drawn:100, at most 36 classes"):
        read(namespace(units=units))


def test_an_ascent_over_pixels_has_no_generator() -> None:
    asked = {"zoo": "shapes", "method": "ascent", "generators": ""}
    assert parse(asked).generators == ("pixels",)
    with pytest.raises(ParameterError, match="expected no generators with method ascent"):
        parse({**asked, "generators": "scenes"})
    assert parse({**asked, "method": "ascent_code", "generators": "scenes"}).generators == (
        "scenes",
    )
    with pytest.raises(ParameterError, match="got 'climb'"):
        parse(asked | {"method": "climb"})


def test_the_name_of_a_family_stands_for_its_networks() -> None:
    zoo = registry.load("zoos", "shapes")()
    asked = "resnet,robust,resnet-untrained,resnet-linf-4"
    found = parse({"zoo": "shapes", "networks": asked}).networks
    assert found == ("resnet", *zoo.families["robust"], "resnet-untrained")


@pytest.mark.parametrize("name", ["unit", "netwroks", "alpha"])
@pytest.mark.parametrize("value", ["x", 3, 0.5, True, [1], {}, None])
def test_unknown_parameter_is_named(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"parameter of this chapter .*got '{name}'"):
        read(namespace(**{name: value}))


def test_near_name_is_suggested() -> None:
    with pytest.raises(ParameterError, match="did you mean generations"):
        read(namespace(generation=3))


def test_names_of_the_notebook_itself_are_no_parameters() -> None:
    read(namespace(helper=lambda: 1, Path=Path, module=math, _private=3))
    read(namespace(own="text"), ignore=("own",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("generations", "abc"),
        ("generations", 1.5),
        ("generations", True),
        ("sigma", "0.5x"),
        ("recompute", "yes"),
        ("recompute", 1),
        ("units", True),
        ("units", None),
        ("generations", float("inf")),
    ],
)
def test_wrong_type_is_named(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=rf"expected parameter {name} to be of type"):
        read(namespace(**{name: value}))


def test_what_papermill_makes_of_text_is_undone() -> None:
    run = read(namespace(seeds=3, alphas=0.5, sigma=2, generations=8.0))
    assert run.seeds == (3,)
    assert run.alphas == (0.5,)
    assert isinstance(run.sigma, float)
    assert isinstance(run.generations, int)


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("zoo", "shape", "zoo"),
        ("units", "red disk", "unit of zoo shapes"),
        ("networks", "alexnet,resnt", "network of zoo shapes"),
        ("network", "resnt", "network of zoo shapes"),
        ("generators", "gan", "generator of zoo shapes"),
        ("signs", "positive,neither", "sign"),
        ("optimizer", "adam", "optimizer"),
        ("rule", "middle", "rule"),
        ("dtype", "int8", "dtype"),
    ],
)
def test_unknown_choice_is_named_with_the_known_ones(name: str, value: str, what: str) -> None:
    with pytest.raises(ParameterError, match=f"expected a {what} among: .*; got"):
        parse({"zoo": "shapes", name: value})


@pytest.mark.parametrize(("name", "value"), [("generations", 0), ("seed", -1), ("alpha", 1.2)])
def test_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ParameterError, match=f"expected {name}"):
        parse({name: value})


@pytest.mark.parametrize("zoo", registry.names("zoos"))
def test_every_zoo_has_defaults(zoo: str) -> None:
    run = parse({"zoo": zoo, "networks": "", "network": "", "generators": "", "units": ""})
    assert run.network in run.networks
    assert run.generators
    assert run.units


def test_choices_agree_with_the_modules_that_use_them() -> None:
    assert selection.SIGNS == ablation.SIGNS
    assert selection.RULES == ablation.RULES


def test_undeclared_namespace_says_what_to_run() -> None:
    with pytest.raises(ParameterError, match="run the cell tagged"):
        read({"zoo": "shapes"})
    with pytest.raises(ParameterError, match="expected the parameters b"):
        check({"a": 1}, {"a": int, "b": int})


def test_types_that_papermill_cannot_pass_are_refused() -> None:
    found: dict[str, Any] = {}
    exec("units: list = []", found)
    with pytest.raises(ParameterError, match="declared as one of str, int, float, bool"):
        read(found)


def test_declared_reads_type_default_and_help() -> None:
    found = declared(notebook())
    assert list(found) == [
        "zoo",
        "units",
        "alphas",
        "seeds",
        "generations",
        "sigma",
        "recompute",
    ]
    assert found["generations"] == (int, 40, "generations of the search")
    assert found["alphas"].help == "strengths # of ablation"
    assert found["recompute"] == (bool, False, 'do not use "shipped" results')


def test_declared_reads_both_halves_of_a_pair(tmp_path: Path) -> None:
    nbformat.write(notebook(), tmp_path / "a.ipynb")
    (tmp_path / "a.md").write_text(
        "---\njupytext:\n  text_representation:\n    extension: .md\n    format_name: myst\n"
        "kernelspec:\n  name: python3\n  display_name: python3\n---\n"
        f"# A\n\n```{{code-cell}} ipython3\n:tags: [parameters]\n\n{CELL}```\n"
    )
    assert declared(tmp_path / "a.md") == declared(tmp_path / "a.ipynb") == declared(notebook())


@pytest.mark.parametrize(
    "line",
    [
        "units = ''  # not annotated",
        "units: str  # no value",
        "units: str = ''",
        "units: list = []  # not plain",
        "units: str | None = None  # not plain",
        "units: str = str(3)  # not a literal",
        "units: int = 'a'  # wrong default",
        "units: str = (\n    'a'\n)  # two lines",
        "print('x')  # no parameter",
    ],
)
def test_declarations_that_would_be_lost_are_refused(line: str) -> None:
    with pytest.raises(ParameterError, match="expected"):
        declared(notebook(line))


def test_notebook_without_the_cell_is_refused() -> None:
    with pytest.raises(ParameterError, match="tagged 'parameters'"):
        declared(notebook(CELL, "other"))


def test_cast_completes_and_checks() -> None:
    found = declared(notebook())
    values = cast(found, {"seeds": [0, 2], "sigma": 1})
    assert list(values) == list(found)
    assert values["seeds"] == "0,2"
    assert values["sigma"] == 1.0
    assert values["zoo"] == "shapes"
    with pytest.raises(ParameterError, match="did you mean units"):
        cast(found, {"unit": "red disc"})
    with pytest.raises(ParameterError, match="generations to be of type int"):
        cast(found, {"generations": "many"})
    with pytest.raises(ParameterError, match="unit of zoo shapes"):
        cast(found, {"units": "no such class"})


def test_plain_papermill_run_stops_at_an_unknown_parameter(tmp_path: Path) -> None:
    import papermill

    book = notebook(
        CELL,
        "parameters",
        "from signseg_utils.chapter import parameters\nrun = parameters.read(globals())",
    )
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "p", "language": "python"}
    nbformat.write(book, tmp_path / "a.ipynb")
    with pytest.raises(papermill.PapermillExecutionError, match="did you mean units"):
        papermill.execute_notebook(
            tmp_path / "a.ipynb",
            tmp_path / "out.ipynb",
            parameters={"seeds": 3, "unit": "red disc"},
            progress_bar=False,
        )


def test_in_a_notebook_only_what_papermill_assigned_is_suspected() -> None:
    cells = ["", "seed: int = 0", "# Parameters\nseed = 3\n", "left_by_a_loop = 7"]
    notebook = {"__annotations__": {"seed": int}, "seed": 3, "left_by_a_loop": 7, "In": cells}
    assert parameters.read(notebook).seed == 3
    cells[2] = "# Parameters\nseed = 3\nsede = 4\n"
    with pytest.raises(parameters.ParameterError, match="did you mean seed"):
        parameters.read({**notebook, "sede": 4})


@pytest.mark.parametrize(("name", "least"), [("clusters", 0), ("sample", 2)])
def test_numbers_of_units_have_a_least_value(name: str, least: int) -> None:
    assert getattr(parse({name: least}), name) == least
    with pytest.raises(ParameterError, match=f"expected {name} of {least} or more"):
        parse({name: least - 1})


@pytest.mark.parametrize("name, value", [("neurons", 0), ("discs", 1)])
def test_counts_of_chapter_14_are_checked(name, value):
    with pytest.raises(parameters.ParameterError, match=name):
        selection.parse({name: value})
    assert selection.parse({"neurons": 1, "discs": 2}).discs == 2
