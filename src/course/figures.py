"""One style for every figure; theory is a line, simulation is points with error bars."""

from __future__ import annotations

import base64
import html
import io
import itertools
import os
import string
import sys
from collections.abc import Callable, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.ticker import NullFormatter

from course.estimates import Estimate

__all__ = [
    "COLORS", "axes", "compact_png", "explorer", "panels", "power_law", "rejected", "show",
    "simulation", "theory", "use_style",
]  # fmt: skip

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The Okabe–Ito palette, safe for colour-blind readers; the first colours contrast most."""

GREY = "#6B6B6B"
FRAME_SIZE = (4.2, 2.8)
FRAME_DPI = 100
MAX_FRAMES, MAX_PER_SLIDER = 15, 4


def use_style() -> None:
    """Set the book's matplotlib style for this process.

    Figures keep a white ground, so that they read the same on the light and the dark page.
    """
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": cycler(color=COLORS),
            "axes.grid": True,
            "grid.color": "#E3E3E3",
            "grid.linewidth": 0.7,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10.5,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "font.size": 9.5,
            "font.family": "DejaVu Sans",
            "mathtext.fontset": "dejavusans",
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.8,
            "lines.markersize": 5,
        }
    )


def axes(
    *,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
    xscale: str = "linear",
    yscale: str = "linear",
    size: tuple[float, float] = (5.6, 3.5),
):
    """One labelled pair of axes.

    Labels name the quantity in words and give its symbol, such as ``"width $n$"``.

    Returns
    -------
    (matplotlib.figure.Figure, matplotlib.axes.Axes)
    """
    fig, ax = plt.subplots(figsize=size)
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale, yscale=yscale)
    if title:
        ax.set_title(title)
    return fig, ax


def panels(columns: int, rows: int = 1, *, size: tuple[float, float] | None = None, **kwargs):
    """A grid of axes; ``kwargs`` go to :func:`matplotlib.pyplot.subplots` (such as ``sharey``).

    Returns
    -------
    (matplotlib.figure.Figure, numpy.ndarray of matplotlib.axes.Axes)
        A flat array of ``rows * columns`` axes.
    """
    size = size or (3.6 * columns, 3.1 * rows)
    fig, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, **kwargs)
    return fig, grid.ravel()


def _numbers(values) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    return np.asarray(values)


def theory(ax, x, y, label: str | None = None, color: str | None = None, **kwargs):
    """Draw a theory curve: always a line."""
    return ax.plot(_numbers(x), _numbers(y), "-", label=label, color=color, **kwargs)[0]


def simulation(ax, x, y, stderr=None, label: str | None = None, color=None, **kwargs):
    """Draw simulation results: always points, with error bars of one standard error.

    ``y`` may be an :class:`~course.estimates.Estimate`, which brings its own error.
    """
    if isinstance(y, Estimate):
        y, stderr = y.value, y.stderr
    style = {"fmt": "o", "capsize": 2.5, "elinewidth": 1.2, "zorder": 3} | kwargs
    error = None if stderr is None else _numbers(stderr)
    return ax.errorbar(_numbers(x), _numbers(y), yerr=error, label=label, color=color, **style)


def power_law(ax, x, measured: Estimate, *, exponent: float, label: str, law: str | None = None):
    """Draw measured points, and a line of the predicted exponent through their geometric mean.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes with two logarithmic scales.
    x : array_like, shape (points,)
        Positive abscissae, marked on the axis.
    measured : Estimate
        Positive values with their errors, shape (points,).
    exponent : float
        The predicted exponent; only the level of the line comes from the points.
    label : str
        What was measured.
    law : str, optional
        What the line is called; ``$n^{exponent}$`` by default.
    """
    x = _numbers(x).astype(float)
    color = simulation(ax, x, measured, label=label).lines[0].get_color()
    ax.set_xticks(x, [f"{value:g}" for value in x])
    ax.xaxis.set_minor_formatter(NullFormatter())
    level = np.log(measured.value).mean() - exponent * np.log(x).mean()
    law = law or f"$n^{{{exponent:g}}}$"
    return theory(ax, x, np.exp(level + exponent * np.log(x)), label=law, color=color)


def rejected(ax, x, y, label: str, **kwargs):
    """Draw the wrong theory that the data rule out: always a grey dashed line."""
    style = {"linestyle": "--", "color": GREY, "linewidth": 1.4} | kwargs
    return ax.plot(_numbers(x), _numbers(y), label=label, **style)[0]


def show(fig) -> None:
    """Add a legend wherever something is labelled, and show the figure."""
    for ax in fig.axes:
        if ax.get_legend() is None and ax.get_legend_handles_labels()[1]:
            ax.legend()
    plt.show()


def compact_png(picture: bytes, colors: int = 128) -> bytes:
    """The same PNG with a palette of that many colours, if this makes it smaller."""
    from PIL import Image

    image, small = Image.open(io.BytesIO(picture)), io.BytesIO()
    if image.mode == "P":  # has a palette already
        return picture
    image = image.convert("RGB").quantize(colors, dither=Image.Dither.NONE)
    image.save(small, format="png", optimize=True)
    return min(small.getvalue(), picture, key=len)


def _png(draw: Callable, values: dict, size: tuple[float, float]) -> bytes:
    fig, ax = plt.subplots(figsize=size, dpi=FRAME_DPI)
    try:
        draw(ax, **values)
        if ax.get_legend() is None and ax.get_legend_handles_labels()[1]:
            ax.legend(fontsize=8)
        raw = io.BytesIO()
        fig.savefig(raw, format="png", dpi=FRAME_DPI)
    finally:
        plt.close(fig)
    return compact_png(raw.getvalue(), colors=64)


def _frame(draw: Callable, alt: str, values: dict, size: tuple[float, float]) -> str:
    code = base64.b64encode(_png(draw, values, size)).decode()
    text = html.escape(alt.format(**values), quote=True)
    return f'<img class="explorer__frame" alt="{text}" src="data:image/png;base64,{code}">'


def _option(value) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _is_live() -> bool:
    """Whether a reader runs this on Colab or Binder, where frames are drawn on demand."""
    return "google.colab" in sys.modules or "BINDER_SERVICE_HOST" in os.environ


def _named_in(alt: str) -> set[str]:
    """Names that stand in braces in a format string."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(alt) if field is not None]
    except ValueError as problem:
        raise ValueError(f"alt is {alt!r}; its braces do not match: {problem}") from problem
    return {field.split(".")[0].split("[")[0] for field in fields}


def _check_parameters(parameters: dict[str, Sequence], alt: str, labels: dict[str, str]) -> None:
    for name, values in parameters.items():
        if isinstance(values, str) or not hasattr(values, "__len__"):
            raise ValueError(f"{name} is {values!r}; allowed is a sequence of values")
    if _named_in(alt) != set(parameters):
        braces = ", ".join(f"{{{name}}}" for name in parameters)
        raise ValueError(f"alt is {alt!r}; it must name exactly the parameters: {braces}")
    if not set(labels) <= set(parameters):
        raise ValueError(f"labels has keys {sorted(labels)}; allowed are {sorted(parameters)}")
    counts = [len(values) for values in parameters.values()]
    one = len(counts) == 1 and 2 <= counts[0] <= MAX_FRAMES
    two = len(counts) == 2 and all(2 <= count <= MAX_PER_SLIDER for count in counts)
    if not (one or two):
        raise ValueError(
            f"parameters have {counts} values; allowed is one of 2 to {MAX_FRAMES} values, or two "
            f"of 2 to {MAX_PER_SLIDER} each"
        )


def _static(frames: list[str], sliders: list):
    """One slider linked to a stack of frames; two: the first picks the row, the second the frame.

    Links run in the browser, so the rendered page needs no kernel.
    """
    import ipywidgets as widgets

    def stack(children):
        return widgets.Stack(children, selected_index=0, layout={"overflow": "visible"})

    images = [widgets.HTML(frame) for frame in frames]
    if len(sliders) == 1:
        view = stack(images)
    else:
        inner = len(sliders[1].options)
        view = stack([stack(images[i : i + inner]) for i in range(0, len(images), inner)])
        for row in view.children:
            widgets.jslink((sliders[1], "index"), (row, "selected_index"))
    widgets.jslink((sliders[0], "index"), (view, "selected_index"))
    return widgets.VBox([*sliders, view])


def _live(draw: Callable, alt: str, parameters: dict, sliders: list, size):
    """Draw the picture anew, in the kernel, whenever a slider moves."""
    import ipywidgets as widgets

    picture = widgets.HTML()

    def redraw(_=None):
        values = {
            name: values[slider.index]
            for (name, values), slider in zip(parameters.items(), sliders, strict=True)
        }
        picture.value = _frame(draw, alt, values, size)

    for slider in sliders:
        slider.observe(redraw, "index")
    redraw()
    return widgets.VBox([*sliders, picture])


def explorer(
    draw: Callable,
    *,
    alt: str,
    labels: dict[str, str] | None = None,
    size: tuple[float, float] = FRAME_SIZE,
    **parameters: Sequence,
) -> None:
    """Show a picture with one or two sliders that work on the rendered page without a kernel.

    Parameters
    ----------
    draw : callable
        ``draw(ax, **values)`` draws one frame on empty axes.
    alt : str
        Alt text of a frame, with the parameters' names in braces:
        ``"Output density at width {width}"``.
    labels : dict of str to str, optional
        What a slider is called, by parameter; the parameter's name by default.
    size : (float, float)
        Size of a frame in inches, at 100 dots an inch.
    **parameters : sequence
        The values of each slider: one parameter of 2 to 15 values, or two of 2 to 4 each.

    Raises
    ------
    ValueError
        For more parameters or values than a page can carry, an ``alt`` that does not name exactly
        the parameters, or a label for something else.

    Notes
    -----
    On Colab and Binder the frame is drawn when a slider moves; everywhere else all frames are
    drawn at once, so that tests and publication take the same path.
    """
    import ipywidgets as widgets
    from IPython.display import display

    labels = labels or {}
    _check_parameters(parameters, alt, labels)
    sliders = [
        widgets.SelectionSlider(
            options=[_option(value) for value in values],
            description=labels.get(name, name),
            style={"description_width": "initial"},
            layout={"width": "min(100%, 26rem)"},
        )
        for name, values in parameters.items()
    ]
    if _is_live():
        display(_live(draw, alt, parameters, sliders, size))
        return
    grid = [
        dict(zip(parameters, values, strict=True))
        for values in itertools.product(*parameters.values())
    ]
    box = _static([_frame(draw, alt, values, size) for values in grid], sliders)
    box.add_class("explorer")
    moves = " and ".join(f"{name} ({len(values)} values)" for name, values in parameters.items())
    display(
        {
            "text/plain": f"explorer of {moves}",
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": box.model_id,
            },
        },
        raw=True,
    )
