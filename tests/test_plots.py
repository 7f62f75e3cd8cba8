"""Figures: what is drawn where, in which colour, and what those hear who do not see it."""

import base64
import re
from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex

from signseg_utils import plots
from signseg_utils.analysis import stats
from signseg_utils.analysis.stats import bootstrap


@pytest.fixture(autouse=True)
def closed():
    with matplotlib.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def images(rows: int, columns: int, size: int = 6) -> np.ndarray:
    values = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns, 1, 1, 1)
    return np.broadcast_to(values / (rows * columns), (rows, columns, 3, size, size))


def test_colours_are_distinct_also_in_lightness_for_the_two_signs() -> None:
    assert len({plots.COLOURS[name] for name in ("intact", "positive", "negative", "random")}) == 4
    chosen = {"vgg": "random", "own": "#123456"}
    given = plots.paints(["positive 0.5", "alexnet", "vgg", "own"], chosen)
    assert list(given.values()) == [
        plots.COLOURS["positive"],
        plots.CYCLE[1],
        plots.COLOURS["random"],
        "#123456",
    ]


def test_curve_draws_mean_and_band_in_the_colour_of_the_condition() -> None:
    _, ax = plt.subplots()
    x = np.linspace(0, 1, 4)
    plots.curve_with_interval(ax, x, x, x - 0.1, x + 0.2, colour="negative", label="negative")
    (line,) = ax.lines
    assert line.get_color() == plots.COLOURS["negative"]
    assert line.get_linestyle() == "--"
    np.testing.assert_array_equal(line.get_ydata(), x)
    edges = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx(-0.1)
    assert edges.max() == pytest.approx(1.2)
    with pytest.raises(ValueError, match="both low and high"):
        plots.curve_with_interval(ax, x, x, low=x, colour="random")


def test_reference_line_lies_at_its_level() -> None:
    _, ax = plt.subplots()
    plots.reference_line(ax, 0.7)
    assert set(ax.lines[0].get_ydata()) == {0.7}


def test_unit_dots_shows_every_unit_and_the_estimate() -> None:
    _, ax = plt.subplots()
    groups = {"positive": [1.0, 2.0, 3.0], "resnet": [4.0]}
    plots.unit_dots(ax, groups, estimates={"positive": bootstrap(groups["positive"])})
    assert [len(dots.get_offsets()) for dots in ax.collections] == [3, 1]
    assert ax.lines[0].get_ydata()[0] == 2.0
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["positive", "resnet"]


def test_dot_panels_share_groups_scale_and_level() -> None:
    panels = {"vgg": {"raw": [1.0, 2.0], "random": [3]}, "resnet": {"raw": [9.0], "random": [4]}}
    means = {name: {key: bootstrap(v) for key, v in of.items()} for name, of in panels.items()}
    figure = plots.dot_panels(
        panels, ylabel="ratio", level=1.5, colours=["#009E73", "random"], estimates=means
    )
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("vgg", "resnet")
    assert first.get_ylim() == second.get_ylim()
    assert first.lines[0].get_ydata()[0] == 1.5  # the mean of 1 and 2
    assert set(first.lines[-1].get_ydata()) == set(second.lines[-1].get_ydata()) == {1.5}
    with pytest.raises(ValueError):
        plots.dot_panels(panels, ylabel="ratio", level=1, colours=["#009E73"])


def test_scatter_names_its_dots() -> None:
    _, ax = plt.subplots()
    plots.scatter(ax, [1, 2], [3, 4], names=["dog", "cat"], identity=True)
    assert [text.get_text() for text in ax.texts] == ["dog", "cat"]
    assert ax.collections[0].get_offsets().tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("form", ["channels first", "channels last", "uint8", "torch", "gray"])
def test_grid_takes_images_of_any_form(form: str) -> None:
    given: object = images(2, 3)
    assert isinstance(given, np.ndarray)
    if form == "channels last":
        given = given.transpose(0, 1, 3, 4, 2)
    elif form == "uint8":
        given = (given * 255).round().astype(np.uint8)
    elif form == "torch":
        given = torch.tensor(given)
    elif form == "gray":
        given = given[:, :, 0]
    figure = plots.image_grid(given, ["a", "b"], ["x", "y", "z"])
    shown = [ax.images[0].get_array() for ax in figure.axes]
    assert [array.shape for array in shown] == [(6, 6, 3)] * 6
    np.testing.assert_allclose([array.mean() for array in shown], np.arange(6) / 6, atol=2e-3)


def test_grid_labels_and_holes() -> None:
    figure = plots.image_grid(
        [[images(1, 1)[0, 0], None]], ["a row"], ["x", "y"], captions=[["1.5", ""]], title="t"
    )
    words = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert words == {"a row", "x", "y"}
    assert figure.axes[0].get_title() == "1.5"
    assert not figure.axes[1].images


@pytest.mark.parametrize(
    ("given", "rows", "columns", "message"),
    [
        (np.zeros((2, 3, 3, 6, 6)), ["a"], None, "2 row labels"),
        (np.zeros((2, 3, 3, 6, 6)), None, ["a"], "3 column labels"),
        ([], None, None, "at least one image"),
        (np.zeros((1, 1, 5, 6, 7)), None, None, "expected an image"),
    ],
)
def test_grid_refuses(given: object, rows: list, columns: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plots.image_grid(given, rows, columns)


def test_panel_runs_from_positive_over_intact_to_negative() -> None:
    conditions = [("none", 0.0)] + [
        (sign, alpha) for sign in ("positive", "negative") for alpha in (0.25, 0.5, 0.75, 1.0)
    ]
    assert plots.panel_order(conditions) == [4, 3, 2, 1, 0, 5, 6, 7, 8]
    figure = plots.ablation_panel(
        images(2, 9), conditions, ["a", "b"], captions=[[str(i) for i in range(9)]] * 2
    )
    first_row = [ax.images[0].get_array().mean() * 18 for ax in figure.axes[:9]]
    np.testing.assert_allclose(first_row, [4, 3, 2, 1, 0, 5, 6, 7, 8], atol=1e-3)
    assert [ax.get_title() for ax in figure.axes[:9]] == list("432105678")
    heads = [ax.texts[0].get_text() for ax in figure.axes[:9]]
    assert heads == ["1", "0.75", "0.5", "0.25", "intact", "0.25", "0.5", "0.75", "1"]
    assert figure.axes[0].texts[0].get_color() == plots.COLOURS["positive"]
    assert {text.get_text() for text in figure.texts} >= {"positive inputs ablated"}


def test_many_panels_of_curves_go_below_each_other() -> None:
    band = stats.mean_curve(np.ones((3, 2)))
    panels = {f"network {i}": {"positive": ([0, 1], band)} for i in range(5)}
    figure = plots.curve_panels(panels, xlabel="x", ylabel="y")
    boxes = [ax.get_subplotspec() for ax in figure.axes]
    assert {(box.rowspan.start, box.colspan.start) for box in boxes[:5]} == {
        (0, 0),
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 0),
    }
    assert [ax.get_title() for ax in figure.axes[:5]] == list(panels)
    assert [ax.axison for ax in figure.axes] == [True] * 5 + [False] * 3


def test_panel_of_one_sign_and_of_an_unknown_one() -> None:
    figure = plots.ablation_panel(images(1, 2), [("none", 0.0), ("negative", 1.0)], ["a"])
    assert "positive inputs ablated" not in {text.get_text() for text in figure.texts}
    with pytest.raises(ValueError, match="sign in a panel"):
        plots.ablation_panel(images(1, 1), [("random_count", 1.0)], ["a"])


def test_figure_with_alt_text_is_svg_for_curves_and_png_for_images() -> None:
    curve, ax = plt.subplots()
    ax.plot([0, 1])
    shown = plots.figure_with_alt(curve, 'a "rising"\n line', "Rises.")
    page = shown._repr_html_()
    assert 'alt="a &quot;rising&quot; line"' in page
    assert "<figcaption>Rises.</figcaption>" in page
    assert "data:image/svg+xml;base64," in page
    assert not plt.fignum_exists(curve.number)
    assert repr(shown) == 'Figure: a "rising" line'
    grid = plots.figure_with_alt(plots.image_grid(images(1, 2)), "two grey squares")
    data = re.search(r"data:image/png;base64,([^\"]+)", grid.html)
    assert data is not None
    assert base64.b64decode(data[1])[:4] == b"\x89PNG"
    assert "figcaption" not in grid.html


def test_same_figure_gives_the_same_bytes() -> None:
    def draw() -> str:
        figure, ax = plt.subplots()
        plots.curve_with_interval(ax, [0, 1], [0, 1], [0, 0], [1, 1], colour="positive")
        return plots.figure_with_alt(figure, "a line").html

    assert draw() == draw()


def test_alt_text_must_not_be_empty() -> None:
    figure, _ = plt.subplots()
    with pytest.raises(ValueError, match="alt text"):
        plots.figure_with_alt(figure, "  ")
    with pytest.raises(ValueError, match="kind of figure"):
        plots.figure_with_alt(figure, "a", kind="jpeg")


def test_boxes_lie_on_their_images() -> None:
    images = np.zeros((1, 3, 8, 8, 3))
    figure = plots.image_grid(images)
    plots.add_boxes(figure, [[1, 2, 5, 8], [np.nan] * 4])
    drawn = [axes.patches for axes in figure.axes]
    assert [len(patches) for patches in drawn] == [1, 0, 0]
    box = drawn[0][0]
    assert box.get_xy() == (0.5, 1.5) and (box.get_width(), box.get_height()) == (4, 6)


def test_curve_panels_share_a_scale_and_a_legend() -> None:
    x = np.array([0.0, 0.5, 1.0])
    band = stats.Curve(x + 1, x + 0.9, x + 1.2, 8, 0)
    panel = {"positive": (x, band), "random_magnitude": (x, band)}
    figure = plots.curve_panels({"a": panel, "b": panel}, xlabel="alpha", ylabel="activation")
    left, right = figure.axes
    assert left.get_shared_y_axes().joined(left, right)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["intact", "positive", "random"]
    levels = [line for line in left.lines if line.get_label() == "intact"]
    assert [line.get_ydata()[0] for line in levels] == [1.0]
    plt.close(figure)


def test_named_curves_have_colours_of_their_own_and_ticks_where_points_are() -> None:
    x = np.array([0.0, 0.2, 5.0])
    band = stats.Curve(x + 1, x + 0.9, x + 1.2, 8, 0)
    curves = {"full CMA": (x, band), "random search": (x, band)}
    figure = plots.named_curves(
        {"a": curves, "b": curves, "c": curves},
        xlabel="noise",
        ylabel="activation",
        level=1.0,
        points=x,
    )
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", ""]
    assert not figure.axes[3].axison
    first = figure.axes[2]  # the lowest row has the ticks
    assert [label.get_text() for label in first.get_xticklabels()] == ["0", "0.2", "5"]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["full CMA", "random search"]
    drawn = [line for line in first.lines if line.get_label() in words]
    assert [line.get_color() for line in drawn] == list(plots.CYCLE[:2])
    plt.close(figure)


def test_named_curves_take_conditions_and_one_scale() -> None:
    x = np.array([0.0, 1.0])
    band = stats.Curve(x, x - 0.1, x + 0.2, 8, 0)
    figure = plots.named_curves(
        {"a": {"trained": (x, band)}, "b": {"untrained": (x, band)}},
        xlabel="layer",
        ylabel="r2",
        colours={"untrained": "negative"},
        shared=True,
        marker="o",
    )
    first, second = figure.axes
    assert first.get_ylim() == second.get_ylim()
    assert first.lines[0].get_color() == plots.CYCLE[0] and first.lines[0].get_marker() == "o"
    assert second.lines[0].get_color() == plots.COLOURS["negative"]
    plt.close(figure)


def test_histograms_add_up_to_one_whatever_the_size_of_a_group() -> None:
    groups = {"fitted": [0.1, 0.1, 0.9, np.nan], "shuffled": np.full((2, 50), 0.5)}
    figure = plots.histogram_panels(
        {"vgg": groups, "resnet": groups},
        [0, 0.25, 0.75, 1],
        xlabel="share",
        ylabel="features",
        colours={"shuffled": "random"},
    )
    heights = [sorted(set(line.get_ydata().round(3))) for line in figure.axes[1].lines]
    assert max(heights[0]) == pytest.approx(0.667) and max(heights[1]) == 1
    assert to_hex(figure.axes[0].lines[1].get_color()) == plots.COLOURS["random"].lower()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(groups)
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_measures_have_a_scale_each() -> None:
    groups = {"positive": [1.0, 2.0], "negative": [3.0]}
    other = {name: 100 * np.asarray(own) for name, own in groups.items()}
    means = {name: bootstrap(own) for name, own in groups.items()}
    figure = plots.measure_panels({"share": groups, "octaves": other})
    first, second = figure.axes
    assert (first.get_ylabel(), second.get_ylabel()) == ("share", "octaves")
    assert first.get_ylim()[1] < 10 < second.get_ylim()[1]
    figure = plots.measure_panels({"share": groups}, estimates={"share": means})
    assert figure.axes[0].lines[0].get_ydata()[0] == 1.5


def test_forest_draws_each_effect_of_each_group_in_order() -> None:
    def found(value: float) -> stats.Estimate:
        return stats.Estimate(value, value - 0.1, value + 0.2, 8, 0)

    figure, axes = plt.subplots()
    plots.forest(axes, {"first": {"a": found(1), "b": found(2)}, "second": {"b": found(-1)}})
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first effect stands on top
    dots = [line for line in axes.lines if line.get_marker() in ("o", "s")]
    drawn = [[x for x in line.get_xdata() if np.isfinite(x)] for line in dots]
    drawn = [values for values in drawn if values]  # legend entries have no points
    assert drawn == [[1], [2, -1]]
    whiskers = [line.get_xdata() for line in axes.lines if line.get_marker() == "None"]
    ends = [line.tolist() for line in map(np.asarray, whiskers) if np.isfinite(line).all()]
    for value in (1, 2, -1):
        assert [value - 0.1, value + 0.2] in ends
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    plt.close(figure)


def test_long_names_below_dots_are_turned() -> None:
    turned = {}
    for words in ("a", "positive, background"):
        groups = {f"{words} {i}": [1.0, 2.0] for i in range(4)}
        figure = plots.dot_panels(
            {"one": groups, "two": groups}, ylabel="y", level=0, colours=plots.CYCLE[:4]
        )
        turned[words] = figure.axes[0].get_xticklabels()[0].get_rotation()
    assert turned == {"a": 0, "positive, background": 60}


def test_levels_to_compare_with_are_in_every_panel_and_named_once() -> None:
    line = np.array([0.0, 1.0]), SimpleNamespace(value=[1.0, 0.5], low=[0.9, 0.4], high=[1.0, 0.6])
    panels = {"one": {"positive": line}, "two": {"positive": line}}
    figure = plots.curve_panels(panels, xlabel="x", ylabel="y", levels={"top": 0.8, "floor": 0.1})
    for ax in figure.axes:
        assert {"top": 0.8, "floor": 0.1}.items() <= {
            drawn.get_label(): drawn.get_ydata()[0] for drawn in ax.lines
        }.items()
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named.count("top") == named.count("floor") == 1


def test_ranked_dots_rise_and_name_both_ends() -> None:
    figure = plots.ranked_dots([0.3, -0.2, 0.5, 0.1], ["a", "b", "c", "d"], ends=1)
    axes = figure.axes[0]
    dots = axes.collections[0]
    assert dots.get_offsets()[:, 1].tolist() == [-0.2, 0.1, 0.3, 0.5]
    colours = [matplotlib.colors.to_hex(colour).upper() for colour in dots.get_facecolors()]
    assert colours == [plots.COLOURS["negative"]] + [plots.COLOURS["positive"]] * 3
    assert [text.get_text() for text in axes.texts] == ["highest: c", "lowest: b"]
    with pytest.raises(ValueError, match="expected 2 unit labels; got 1"):
        plots.ranked_dots([1, 2], ["a"])


def test_what_is_reported_stands_beside_what_came_out() -> None:
    keys = [("positive", 0.5), ("positive", 1.0), ("negative", 0.5), ("negative", 1.0)]
    found = pd.DataFrame(
        {"here": [-0.1, -0.2, 0.0, 0.1], "paper": [-0.4, -0.5, np.nan, -0.6]},
        index=pd.MultiIndex.from_tuples(keys, names=["sign", "alpha"]),
    ).assign(low=-1.0, high=1.0)
    figure = plots.beside_reported(found, xlabel="strength", ylabel="rho")
    titles = {ax.get_title(): ax for ax in figure.axes}
    assert list(titles) == ["positive ablation", "negative ablation"]
    drawn = {line.get_label(): line.get_ydata() for line in titles["negative ablation"].lines}
    np.testing.assert_array_equal(drawn["here"], [0.0, 0.1])
    np.testing.assert_array_equal(drawn["paper"], [np.nan, -0.6])


def test_scatter_panels_share_y() -> None:
    figure = plots.scatter_panels(
        {"accuracy": [1, 2], "ratio": [5, 3]},
        [7, 8],
        ylabel="asymmetry",
        titles={"accuracy": "rho 1", "ratio": "rho -1"},
    )
    left, right = figure.axes
    assert left.get_shared_y_axes().joined(left, right)
    assert [ax.get_xlabel() for ax in figure.axes] == ["accuracy", "ratio"]
    assert [ax.get_title() for ax in figure.axes] == ["rho 1", "rho -1"]
    assert right.collections[0].get_offsets().tolist() == [[5, 7], [3, 8]]


def test_small_studies_are_counted_by_their_conclusion() -> None:
    middle = np.array([2.0, 1.0, 0.1, -3.0])
    studies = stats.SmallerSamples(middle, middle - 0.5, middle + 0.5, 3, 9, 0)
    axes = plots.small_studies(studies, {"all": 0.5, "some": 0.7}, bins=4).axes[0]
    counted = {
        bars.get_label(): sum(patch.get_height() for patch in bars.patches)
        for bars in axes.containers
    }
    assert counted == {"interval above 0": 2, "holds 0": 1, "below 0": 1}
    drawn = {line.get_label(): line.get_linestyle() for line in axes.lines}
    assert drawn == {"all": "-", "some": "--"}


def test_small_studies_of_all_units_are_one_bar() -> None:
    alike = 0.3 + 1e-16 * np.arange(5)
    studies = stats.SmallerSamples(alike, alike - 1, alike + 1, 9, 9, 0)
    axes = plots.small_studies(studies).axes[0]
    assert [p.get_height() for p in axes.patches if p.get_height()] == [5]


def test_of_many_units_some_are_drawn_from_the_lowest_to_the_highest() -> None:
    figure, ax = plt.subplots()
    plots.unit_dots(ax, {"few": np.arange(600.0), "many": np.arange(1000.0)})
    few, many = (np.ma.getdata(own.get_offsets())[:, 1] for own in ax.collections[:2])
    assert len(few) == 600 and len(many) == 200
    assert (many.min(), many.max()) == (0, 999) and np.diff(np.sort(many)).max() <= 6
    plt.close(figure)


def test_many_images_take_less_room_as_webp() -> None:
    noise = np.random.default_rng(0).random((4, 3, 160, 160))
    png, webp = (
        plots.figure_with_alt(plots.image_grid([noise]), "noise", kind=kind).html
        for kind in ("png", "webp")
    )
    assert "data:image/webp;base64," in webp and len(webp) < len(png)
