"""Figures: theory is a line, simulation is points, explorers carry alt text and stay small."""

import io

import matplotlib as mpl

mpl.use("Agg")

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from course import figures
from course.estimates import Estimate


@pytest.fixture(autouse=True)
def _clean():
    with mpl.rc_context():
        figures.use_style()
        yield
    plt.close("all")


def test_theory_is_a_line_and_simulation_is_points_with_error_bars():
    _, ax = figures.axes(xlabel="width $n$", ylabel="variance")
    line = figures.theory(ax, [1, 2], [3, 4])
    assert line.get_linestyle() == "-"
    assert line.get_marker() in ("None", None, "")
    points = figures.simulation(ax, [1, 2], Estimate(np.array([1.0, 2.0]), np.array([0.1, 0.2]), 5))
    assert points[0].get_linestyle() == "None"
    assert points[0].get_marker() == "o"
    segments = points[2][0].get_segments()
    assert segments[1][1, 1] - segments[1][0, 1] == pytest.approx(0.4)
    assert figures.rejected(ax, [1, 2], [0, 0], "wrong").get_linestyle() == "--"


def test_a_power_law_has_the_predicted_slope_whatever_the_points():
    _, ax = figures.axes(xlabel="width $n$", ylabel="error", xscale="log", yscale="log")
    x = np.array([4.0, 16.0, 64.0])
    points = Estimate(x**-0.9, 0.01 * x**-0.9, 8)
    line = figures.power_law(ax, x, points, exponent=-1, label="networks")
    np.testing.assert_allclose(np.diff(np.log(line.get_ydata())), -np.diff(np.log(x)))
    level = np.log(line.get_ydata()).mean()
    assert level == pytest.approx(np.log(points.value).mean())
    assert line.get_label() == "$n^{-1}$"


def test_colours_differ_for_readers_without_colour():
    lightness = [np.dot(mpl.colors.to_rgb(c), [0.299, 0.587, 0.114]) for c in figures.COLORS[:3]]
    assert min(np.abs(np.diff(lightness))) > 0.03
    assert len(set(figures.COLORS)) == len(figures.COLORS)


def test_show_adds_a_legend_only_where_something_is_labelled():
    fig, (left, right) = figures.panels(2)
    figures.theory(left, [0, 1], [0, 1], "theory")
    figures.theory(right, [0, 1], [0, 1])
    figures.show(fig)
    assert left.get_legend() is not None
    assert right.get_legend() is None


def draw(ax, width, depth=1):
    ax.plot([0, 1], [width, depth])


def frames(box):
    view = box.children[-1]
    rows = view.children
    if isinstance(rows[0], widgets.Stack):
        return [image.value for row in rows for image in row.children]
    return [image.value for image in rows]


@pytest.fixture
def shown(monkeypatch):
    """What an explorer displays, without a front end."""
    views = []
    monkeypatch.setattr("IPython.display.display", lambda *args, **_: views.append(args[0]))
    boxes = []
    original = figures._static
    monkeypatch.setattr(
        figures, "_static", lambda *args: boxes.append(original(*args)) or boxes[-1]
    )
    return views, boxes


def test_an_explorer_has_one_frame_a_value_each_with_its_alt_text(shown):
    views, boxes = shown
    figures.explorer(draw, alt="Width {width}", width=[1, 2, 4])
    pictures = frames(boxes[0])
    assert len(pictures) == 3
    assert len(set(pictures)) == 3
    assert ['alt="Width 4"' in picture for picture in pictures] == [False, False, True]
    assert views[0]["text/plain"] == "explorer of width (3 values)"
    assert plt.get_fignums() == []


def test_an_explorer_of_two_sliders_orders_frames_by_the_first(shown):
    _, boxes = shown
    figures.explorer(draw, alt="{width} {depth}", width=[1, 2], depth=[3, 4])
    labels = [picture.split('"')[3] for picture in frames(boxes[0])]
    assert labels == ["1 3", "1 4", "2 3", "2 4"]


def test_a_live_explorer_draws_the_frame_that_the_slider_asks_for(monkeypatch):
    views = []
    monkeypatch.setattr("IPython.display.display", lambda *args, **_: views.append(args[0]))
    monkeypatch.setenv("BINDER_SERVICE_HOST", "somewhere")
    figures.explorer(draw, alt="Width {width}", width=[1, 2, 4])
    slider, picture = views[0].children
    first = picture.value
    slider.index = 2
    assert 'alt="Width 1"' in first
    assert 'alt="Width 4"' in picture.value


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"width": list(range(16))}, "2 to 15"),
        ({"width": [1]}, "2 to 15"),
        ({"width": [1, 2, 3, 4, 5], "depth": [1, 2]}, "2 to 4 each"),
        ({"height": [1, 2]}, "height"),
        ({"width": 3}, "width is 3"),
        ({"width": "abc"}, "width is 'abc'"),
        ({"width": iter([1, 2])}, "width is"),
        ({"width": [1, 2], "alt": "Width {widths}"}, "exactly the parameters: {width}"),
        ({"width": [1, 2], "alt": "Width {width} and {depth}"}, "exactly the parameters"),
        ({"width": [1, 2], "alt": "Width {{width}}"}, "exactly the parameters"),
        ({"width": [1, 2], "alt": "Width {}"}, "exactly the parameters"),
        ({"width": [1, 2], "alt": "Width {width"}, "braces do not match"),
        ({"width": [1, 2], "labels": {"depth": "d"}}, "labels has keys"),
    ],
)
def test_explorers_that_do_not_fit_a_page_are_refused(parameters, message):
    alt = " ".join(f"{{{name}:}}" for name in parameters if name not in ("alt", "labels"))
    if "height" in parameters:
        alt = "{width}"
    with pytest.raises(ValueError, match=message):
        figures.explorer(draw, **{"alt": alt} | parameters)


def test_a_compact_picture_looks_the_same_and_is_smaller():
    fig, ax = figures.axes(xlabel="width $n$", ylabel="variance")
    figures.theory(ax, [1, 2], [3, 4])
    raw = io.BytesIO()
    fig.savefig(raw, format="png")
    small = figures.compact_png(raw.getvalue())
    assert len(small) < 0.7 * len(raw.getvalue())
    before, after = (
        np.asarray(Image.open(io.BytesIO(code)).convert("RGB"), dtype=float)
        for code in (raw.getvalue(), small)
    )
    assert np.abs(before - after).max() <= 32
    assert figures.compact_png(small) == small
