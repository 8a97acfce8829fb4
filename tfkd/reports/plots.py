"""Pictures of a report as SVG that takes its colors from the page, so light and dark both read.

matplotlib draws them with marks in place of colors; each mark becomes a variable of the page's
style sheet. Letters stay letters, and what is pointed at tells its name.
"""

import dataclasses
import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Mark to variable. Series take the last ones in turn.
COLORS = {
    "#010203": "--ink",
    "#010204": "--line",
    "#010205": "--ahead",
    "#010206": "--behind",
    **{f"#0102{10 + number}": f"--series-{number}" for number in range(8)},
}
INK, LINE, AHEAD, BEHIND, *SERIES = COLORS
MARKERS = "osD^vP*X"
MOST_COUNTED, NUM_BINS, FEWEST_IN_BIN = 12, 10, 10
WIDE, SQUARE = (6.4, 3.6), (5.0, 4.2)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture with its words.

    Attributes:
        title: String.
        note: String. How to read it.
        svg: String. An `<svg>` element.
    """

    title: str
    note: str
    svg: str


@dataclasses.dataclass(frozen=True)
class Point:
    """A model in a picture of quality against its price.

    Attributes:
        group: Whose color it has, such as "student".
        kind: Whose shape it has, such as "dynamic_int8".
        price: Float. Megabytes or milliseconds.
        value: Float. The metric, or the mean of the seeds'.
        seeds: Floats. The metric of each seed, where there are several.
    """

    group: str
    kind: str
    price: float
    value: float
    seeds: tuple[float, ...] = ()

    @property
    def tip(self) -> str:
        """What a pointer above it shows."""
        return f"{self.group}, {self.kind}: {self.value:.4f} at {self.price:.3g}"


def price_pictures(metric: str, prices: Mapping[str, Sequence[Point]]) -> list[Picture]:
    """Quality against each price on a logarithmic axis, a model in one color in all of them.

    Args:
        metric: String. Name of the quality.
        prices: `Point`s by what the price is, such as "megabytes of the file". Those of one point
            alone have no picture.
    """
    groups = list(dict.fromkeys(point.group for points in prices.values() for point in points))
    kinds = list(dict.fromkeys(point.kind for points in prices.values() for point in points))
    return [
        _price_picture(metric, unit, points, (groups, kinds))
        for unit, points in prices.items()
        if len(points) > 1
    ]


def _price_picture(
    metric: str, unit: str, points: Sequence[Point], known: tuple[list[str], list[str]]
) -> Picture:
    """Quality against one price."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullFormatter

    colors = {name: SERIES[place % len(SERIES)] for place, name in enumerate(known[0])}
    marks = {name: MARKERS[place % len(MARKERS)] for place, name in enumerate(known[1])}
    groups = [name for name in colors if any(point.group == name for point in points)]
    kinds = [name for name in marks if any(point.kind == name for point in points)]
    tips: dict[str, str] = {}

    def draw(axes: "Axes") -> None:
        for number, point in enumerate(points):
            color, mark = colors[point.group], marks[point.kind]
            if len(point.seeds) > 1:
                same = [point.price] * len(point.seeds)
                axes.plot(same, point.seeds, mark, color=color, markersize=3, alpha=0.6)
            tips[f"tip{number}"] = point.tip
            axes.plot(point.price, point.value, mark, color=color, gid=f"tip{number}", zorder=3)
        prices = [point.price for point in points]
        axes.set_xscale("log")
        between = (1, 2, 5) if max(prices) < 100 * min(prices) else (1, 3)
        axes.xaxis.set_major_locator(LogLocator(subs=between))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(unit)
        axes.set_ylabel(metric)
        handles = [Line2D([], [], ls="", marker="o", color=colors[name]) for name in groups]
        handles += [Line2D([], [], ls="", marker=marks[name], color=INK) for name in kinds]
        names = [_shortened(name) for name in (*groups, *kinds)]
        axes.figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)

    several = " Small marks are seeds." if any(len(point.seeds) > 1 for point in points) else ""
    note = f"Up and to the left is better. Colors are models, shapes are files.{several}"
    title = f"{metric} against {unit}"
    rows = -(-(len(groups) + len(kinds)) // 2)
    return Picture(title, note, _svg(title, draw, (6.4, 3.2 + 0.2 * rows), tips))


def curve_picture(title: str, metric: str, curves: Mapping[str, Sequence[float]]) -> Picture:
    """A metric on the validation rows after each epoch.

    Args:
        title: String.
        metric: String. Its name.
        curves: Floats, one an epoch, by the model's name.
    """
    from matplotlib.ticker import MaxNLocator

    def draw(axes: "Axes") -> None:
        for place, (name, values) in enumerate(curves.items()):
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, marker=MARKERS[place], color=SERIES[place], label=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(metric)
        axes.legend(frameon=False)

    note = (
        "On the validation rows, after each epoch. The best epoch is kept; of a student that hears "
        "answers to unlabelled texts, the last one not behind it by more than a standard error."
    )
    return Picture(title, note, _svg(f"{metric} after each epoch", draw, WIDE))


def reliability_picture(title: str, sure: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Picture:
    """How often answers are right, against how sure the models are of them.

    Args:
        title: String.
        sure: By the model's name: float `[num_rows]` in [0, 1], how sure it is of each answer, and
            boolean `[num_rows]`, whether it is right.
    """

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=LINE, linestyle="--")
        for place, (name, (confidence, is_right)) in enumerate(sure.items()):
            bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
            counts = np.bincount(bins, minlength=NUM_BINS)
            known = counts >= FEWEST_IN_BIN
            means = [
                np.bincount(bins, values, NUM_BINS)[known] / counts[known]
                for values in (confidence, is_right)
            ]
            axes.plot(*means, marker=MARKERS[place], markersize=4, color=SERIES[place], label=name)
        axes.set_xlabel("how sure")
        axes.set_ylabel("share that is right")
        axes.legend(frameon=False)

    note = (
        f"Test answers in {NUM_BINS} groups by how sure the model is, those of at least "
        f"{FEWEST_IN_BIN}. On the broken line it is right as often as it says; below it, it is too "
        "sure of itself."
    )
    return Picture(title, note, _svg(title, draw, SQUARE))


def matrix_picture(title: str, note: str, names: Sequence[str], matrix: np.ndarray) -> Picture:
    """Counts of classes against classes; counts below zero, of a difference, have their own color.

    Args:
        title: String.
        note: String. How to read it.
        names: Strings. Of the classes.
        matrix: Integers `[num_classes, num_classes]`: a row is a label, a column an answer.
    """
    from matplotlib.patches import Rectangle

    largest = max(float(np.abs(matrix).max()), 1.0)
    is_counted = len(names) <= MOST_COUNTED

    def draw(axes: "Axes") -> None:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                color = AHEAD if count > 0 else BEHIND
                shade = 0.1 + 0.5 * abs(count) / largest
                axes.add_patch(Rectangle((column, row), 1, 1, facecolor=color, alpha=shade))
                if is_counted:
                    axes.text(column + 0.5, row + 0.5, f"{count:,}", ha="center", va="center")
        axes.set_xlim(0, len(names))
        axes.set_ylim(len(names), 0)
        places, told = np.arange(len(names)) + 0.5, [_shortened(name) for name in names]
        axes.set_xticks(places, told, rotation=90 if len(names) > 3 else 0)
        axes.set_yticks(places, told)
        axes.set_xlabel("answer")
        axes.set_ylabel("label")

    side = max(3.2, 0.34 * len(names) + 1.4)
    return Picture(title, note, _svg(title, draw, (side, side)))


def flip_picture(title: str, names: Sequence[str], lost: np.ndarray, won: np.ndarray) -> Picture:
    """Answers that quantization changes, class by class.

    Args:
        title: String.
        names: Strings. Of the classes.
        lost: Integers `[num_classes]`: right before, wrong after.
        won: Integers `[num_classes]`: wrong before, right after.
    """
    from matplotlib.ticker import MaxNLocator

    def draw(axes: "Axes") -> None:
        places = np.arange(len(names))
        axes.barh(places, -lost, color=BEHIND, label="right before, wrong after")
        axes.barh(places, won, color=AHEAD, label="wrong before, right after")
        axes.axvline(0, color=LINE)
        axes.set_yticks(places, [_shortened(name) for name in names])
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axes.set_xlabel("test rows")
        axes.legend(frameon=False)

    note = "Test rows by their label, where the file answers otherwise than the Keras model."
    return Picture(title, note, _svg(title, draw, (6.4, max(2.0, 0.3 * len(names) + 1.2))))


def _svg(
    name: str,
    draw: "Callable[[Axes], None]",
    inches: tuple[float, float],
    tips: Mapping[str, str] = {},
) -> str:
    """What `draw` draws, as an element of a page: no size of its own, and no id of another's."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    ink = ("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor")
    line = ("axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": "sans-serif",
    }
    settings |= {**dict.fromkeys(ink, INK), **dict.fromkeys(line, LINE), "text.parse_math": False}
    with rc_context(settings):
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _element(stream.getvalue(), name, tips)


def _element(text: str, name: str, tips: Mapping[str, str]) -> str:
    text = re.sub("<metadata>.*?</metadata>", "", text[text.index("<svg ") :], flags=re.DOTALL)
    prefix = re.sub(r"\W+", "-", name)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for tip, told in tips.items():
        mark = f'<g id="{prefix}-{tip}">'
        text = text.replace(mark, f"{mark}<title>{html.escape(told)}</title>")
    for mark, variable in COLORS.items():
        text = text.replace(mark, f"var({variable})")
    label = html.escape(name, quote=True)
    opening = re.sub(r' (width|height)="[^"]*"', "", text[: text.index(">")])
    return f'{opening} role="img" aria-label="{label}"{text[text.index(">") :]}'


def _shortened(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}…"
