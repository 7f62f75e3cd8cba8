"""Figures in one look: what is measured comes in, with its interval; a figure goes out.

Nothing is computed here but where things are drawn. Curves, dots and effects are seaborn's, in the
colours, lines and markers of `style`; grids of images are drawn by hand, since seaborn has none.
"""

from signseg_utils.plots.curves import curve_panels, curve_with_interval, named_curves
from signseg_utils.plots.dots import (
    dot_panels,
    measure_panels,
    ranked_dots,
    scatter,
    scatter_panels,
    unit_dots,
)
from signseg_utils.plots.effects import beside_reported, effect_rows, forest, small_studies
from signseg_utils.plots.figure import Shown, figure_with_alt
from signseg_utils.plots.histograms import histogram_panels
from signseg_utils.plots.images import ablation_panel, add_boxes, image_grid, panel_order
from signseg_utils.plots.style import (
    COLOURS,
    CYCLE,
    PAGE_WIDTH,
    paints,
    reference_line,
    use_style,
)

__all__ = [
    "COLOURS",
    "CYCLE",
    "PAGE_WIDTH",
    "Shown",
    "ablation_panel",
    "add_boxes",
    "beside_reported",
    "curve_panels",
    "curve_with_interval",
    "dot_panels",
    "figure_with_alt",
    "effect_rows",
    "forest",
    "histogram_panels",
    "image_grid",
    "measure_panels",
    "named_curves",
    "paints",
    "panel_order",
    "ranked_dots",
    "reference_line",
    "scatter",
    "scatter_panels",
    "small_studies",
    "unit_dots",
    "use_style",
]
