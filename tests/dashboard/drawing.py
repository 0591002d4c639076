"""Draws a dashboard as Grafana would show it, dark, from plain values.

No query is known here, and nothing of matplotlib anywhere else."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FixedLocator, FuncFormatter, MultipleLocator, NullLocator
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.dashboard.grafana import FINGERPRINT
from tests.dashboard.units import written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from tests.dashboard.answers import Series, Shown
    from tests.dashboard.grafana import Dashboard

#: Pixels.
_WIDTH: Final = 1600
_MARGIN: Final = 12
_GAP: Final = 8
_ROW: Final = 31
_HEAD: Final = 92
_TITLE: Final = 30
_PAD: Final = 10
_LEGEND_LINE: Final = 18
_LEGEND_LINES_MAX: Final = 2
_AXIS: Final = 82
_DPI: Final = 100
_PALETTE_SIZE: Final = 256

_COLUMNS: Final = 24
_GROUND: Final = "#111217"
_PANEL: Final = "#181b1f"
_EDGE: Final = "#25272c"
_TEXT: Final = "#ccccdc"
_DIM: Final = "#9a9ba6"
_GRID: Final = "#2a2c32"
#: Grafana's names of colours, in the dark theme.
_COLOURS: Final = {
    "green": "#73bf69",
    "red": "#f2495c",
    "dark-red": "#c4162a",
    "orange": "#ff9830",
    "blue": "#5794f2",
    "text": _TEXT,
}
#: Its classic palette, for series in their order.
_PALETTE: Final = (
    *("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0"),
    *("#37872d", "#fade2a", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477"),
    *("#b7dbab", "#f4d598", "#70dbed", "#f9ba8f", "#f29191", "#82b5d8", "#e5a8e2", "#aea2e0"),
)
#: Few to many, as Grafana's scheme Oranges looks on a dark ground.
_HEAT: Final = ("#4a2409", "#a64708", "#f0781a", "#fdae6b", "#fdd9b4")
#: Less is nothing: what is left of a count by calculating.
_COUNT_MIN: Final = 1e-6
_SECONDS_A_TICK: Final = (10, 30, 60, 120, 300, 600, 1800, 3600)
_TICKS_MAX: Final = 9
_PIXELS_A_TICK: Final = 75
_MINUTE: Final = 60
_LOG_TICKS: Final = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600)
_LINES_MAX: Final = 4.2


def draw(dashboard: Dashboard, shown: Shown, path: Path) -> None:
    """Draw all panels at their places into a PNG file."""
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard.panels)
    sheet = _Sheet(_HEAD + rows * _ROW + _MARGIN)
    _draw_head(sheet, dashboard, shown)
    for panel in dashboard.panels:
        _draw_panel(sheet, panel, shown)
    sheet.save(path, dashboard.fingerprint)


@dataclass(frozen=True, slots=True)
class _Box:
    """A rectangle in pixels, from the upper left corner."""

    x: float
    y: float
    w: float
    h: float

    def inside(self, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> _Box:
        return _Box(
            self.x + left,
            self.y + top,
            max(1, self.w - left - right),
            max(1, self.h - top - bottom),
        )


class _Sheet:
    """The paper: rectangles, words and axes by pixel."""

    def __init__(self, height: int) -> None:
        self._height = height
        self.figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=_GROUND)
        FigureCanvasAgg(self.figure)

    def box(self, box: _Box, colour: str, *, edge: str = "none", round_by: float = 3) -> None:
        """Fill a rectangle."""
        self.figure.add_artist(
            FancyBboxPatch(
                (box.x / _WIDTH, 1 - (box.y + box.h) / self._height),
                box.w / _WIDTH,
                box.h / self._height,
                boxstyle=f"round,pad=0,rounding_size={round_by / _WIDTH}",
                mutation_aspect=_WIDTH / self._height,
                facecolor=colour,
                edgecolor=edge,
                linewidth=0.8,
                zorder=-1,
                transform=self.figure.transFigure,
            )
        )

    def words(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 12,
        colour: str = _TEXT,
        across: str = "left",
        bold: bool = False,
    ) -> float:
        """Write at a point, vertically in the middle of it; return how wide it is."""
        drawn = self.figure.text(
            x / _WIDTH,
            1 - y / self._height,
            text.replace("$", r"\$"),
            fontsize=size * 72 / _DPI,
            color=colour,
            ha=across,
            va="center",
            fontweight="bold" if bold else "normal",
        )
        return float(drawn.get_window_extent().width)

    def axes(self, box: _Box) -> Axes:
        """Return axes that fill a rectangle."""
        axes = self.figure.add_axes(
            (
                box.x / _WIDTH,
                1 - (box.y + box.h) / self._height,
                box.w / _WIDTH,
                box.h / self._height,
            )
        )
        axes.set_facecolor("none")
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(colors=_DIM, labelsize=11 * 72 / _DPI, length=0, pad=4, which="both")
        return axes

    def save(self, path: Path, fingerprint: str) -> None:
        """Write it as a PNG of few colours: a fraction of the size, and nobody sees it."""
        file = BytesIO()
        self.figure.savefig(file, format="png", facecolor=_GROUND)
        picture = Image.open(file).convert("RGB")
        few = picture.quantize(_PALETTE_SIZE, kmeans=2, dither=Image.Dither.NONE)
        told = PngInfo()
        told.add_text(FINGERPRINT, fingerprint)
        few.save(path, optimize=True, pnginfo=told)


def _draw_head(sheet: _Sheet, dashboard: Dashboard, shown: Shown) -> None:
    """Write the title, the time and what is chosen."""
    x: float = _MARGIN + 4
    sheet.words(x, 28, dashboard.document["title"], size=20, bold=True)
    times = [datetime.fromtimestamp(at, UTC) for at in (shown.start, shown.end)]
    told = " to ".join(f"{at:%H:%M:%S}" for at in times)
    sheet.words(_WIDTH - x, 28, told, size=14, colour=_DIM, across="right")
    for name, value in shown.chosen.items():
        label = dashboard.variables[name]["label"]
        width = sheet.words(x + 10, 66, label, size=13, colour=_DIM)
        sheet.box(_Box(x + width + 20, 53, 56, 26), _PANEL, edge="#3a3c43")
        sheet.words(x + width + 30, 66, value, size=13)
        x += width + 92
    for link in dashboard.document["links"]:
        sheet.words(
            _WIDTH - _MARGIN - 4, 66, link["title"], size=13, colour="#6e9fff", across="right"
        )


def _draw_panel(sheet: _Sheet, panel: Mapping[str, Any], shown: Shown) -> None:
    at = panel["gridPos"]
    column = (_WIDTH - 2 * _MARGIN + _GAP) / _COLUMNS
    box = _Box(
        _MARGIN + at["x"] * column,
        _HEAD + at["y"] * _ROW,
        at["w"] * column - _GAP,
        at["h"] * _ROW - _GAP,
    )
    if panel["type"] == "row":
        sheet.words(box.x + 4, box.y + box.h / 2, f"▾  {panel['title']}", size=16, bold=True)
        return
    sheet.box(box, _PANEL, edge=_EDGE)
    _DRAWN[panel["type"]](_Panel(sheet, panel, box, shown, shown.series[panel["id"]]))


class _Panel:
    """One panel: what its file says, where it lies, and what it shows."""

    def __init__(
        self,
        sheet: _Sheet,
        panel: Mapping[str, Any],
        box: _Box,
        shown: Shown,
        series: Sequence[Series],
    ) -> None:
        self.sheet = sheet
        self.box = box
        self.shown = shown
        self.series = series
        self.title: str = panel["title"]
        self.options: Mapping[str, Any] = panel["options"]
        self.defaults: Mapping[str, Any] = panel["fieldConfig"]["defaults"]
        self.custom: Mapping[str, Any] = self.defaults.get("custom", {})
        self._overrides: Sequence[Mapping[str, Any]] = panel["fieldConfig"]["overrides"]

    def head(self, colour: str = _TEXT) -> _Box:
        """Write the title; return the space below it."""
        self.sheet.words(
            self.box.x + _PAD,
            self.box.y + _TITLE / 2 + 1,
            self.title,
            size=13,
            colour=colour,
            bold=True,
        )
        return self.box.inside(_PAD, _TITLE, _PAD, _PAD)

    def written(self, value: float) -> str:
        """Return a value as the panel writes it."""
        return written(value, self.defaults["unit"], self.defaults.get("decimals"))

    def curve(self, series: Series) -> tuple[list[float], list[float]]:
        """Return a time every step, and the values: not a number where there is a gap."""
        step = self.shown.step
        values = {round((at - self.shown.start) / step): value for at, value in series.points}
        count = 1 + math.floor((self.shown.end - self.shown.start) / step)
        return [self.shown.start + n * step for n in range(count)], [
            value if math.isfinite(value := values.get(n, math.nan)) else math.nan
            for n in range(count)
        ]

    def override(self, name: str, what: str, default: Any) -> Any:  # noqa: ANN401 - JSON
        """Return what is said of the series called so, or of all."""
        for each in self._overrides:
            if each["matcher"]["options"] == name:
                for said in each["properties"]:
                    if said["id"] == what:
                        return said["value"]
        return default

    def colour(self, name: str, index: int) -> str:
        """Return the colour of a series: its own, or that of its place."""
        own = self.override(name, "color", None)
        return _hex(own["fixedColor"]) if own else _PALETTE[index % len(_PALETTE)]

    def colour_of(self, value: float, name: str = "") -> str:
        """Return the colour that the thresholds give a value of a series."""
        steps = self.override(name, "thresholds", self.defaults["thresholds"])["steps"]
        above = bisect_right([step["value"] for step in steps[1:]], value)
        return _hex(steps[above]["color"])


def _hex(name: str) -> str:
    return _COLOURS.get(name, name)


# --- one number -----------------------------------------------------------------------------------


def _draw_stat(panel: _Panel) -> None:
    values = [(each.name, each.last) for each in panel.series if each.last is not None]
    fills = panel.options["colorMode"] == "background" and values
    if fills:
        colour = panel.colour_of(values[0][1] or 0)
        panel.sheet.box(panel.box, colour)
    space = panel.head("#111217" if fills else _TEXT)
    if not values:
        told = panel.defaults.get("noValue", "No data")
        _big(panel, space, told, _TEXT)
    elif panel.options["textMode"] == "value_and_name":
        _draw_named(panel, space, values)
    else:
        value = values[0][1] or 0
        if panel.options["graphMode"] == "area":
            _draw_spark(panel, panel.series[0])
        _big(panel, space, panel.written(value), "#111217" if fills else panel.colour_of(value))


def _big(panel: _Panel, space: _Box, text: str, colour: str) -> None:
    size = min(34.0, space.h * 0.6, 1.55 * space.w / max(len(text), 1))
    middle = space.y + space.h / 2 - (8 if panel.options["graphMode"] == "area" else 2)
    panel.sheet.words(
        space.x + space.w / 2, middle, text, size=size, colour=colour, across="center", bold=True
    )


def _draw_named(panel: _Panel, space: _Box, values: Sequence[tuple[str, float | None]]) -> None:
    height = space.h / len(values)
    for index, (name, value) in enumerate(values):
        top = space.y + index * height
        size = min(13.0, 1.75 * space.w / max(len(name), 1))
        middle = space.x + space.w / 2
        panel.sheet.words(
            middle, top + height * 0.24, name, size=size, colour=_DIM, across="center"
        )
        panel.sheet.words(
            middle,
            top + height * 0.64,
            panel.written(value or 0),
            size=min(26.0, height * 0.5),
            colour=panel.colour_of(value or 0),
            across="center",
            bold=True,
        )


def _draw_spark(panel: _Panel, series: Series) -> None:
    box = panel.box
    axes = panel.sheet.axes(_Box(box.x + 1, box.y + box.h * 0.68, box.w - 2, box.h * 0.32 - 1))
    times, values = panel.curve(series)
    colour = panel.colour_of(series.last or 0)
    axes.plot(times, values, color=colour, linewidth=0.9)
    axes.fill_between(times, values, color=colour, alpha=0.18, linewidth=0)
    axes.set_xlim(panel.shown.start, panel.shown.end)
    axes.set_ylim(0, 1.05 * max([1e-9, *filter(math.isfinite, values)]))
    axes.set_axis_off()


# --- bars -----------------------------------------------------------------------------------------


def _draw_bars(panel: _Panel) -> None:
    space = panel.head()
    values = [(each.name, each.last) for each in panel.series if each.last is not None]
    if not values:
        _nothing(panel, space)
        return
    height = min(34.0, space.h / len(values))
    most = max(value for _, value in values) or 1.0
    for index, (name, value) in enumerate(values):
        _draw_bar(
            panel,
            _Box(space.x, space.y + index * height, space.w, height),
            name,
            value / most,
            value,
        )


def _draw_bar(panel: _Panel, box: _Box, name: str, share: float, value: float) -> None:
    middle, colour = box.y + box.h / 2, panel.colour_of(value, name)
    size = min(12.5, box.h * 0.78)
    panel.sheet.words(box.x + 0.34 * box.w, middle, name, size=size, across="right")
    bar = _Box(box.x + 0.36 * box.w, box.y + 2, 0.48 * box.w, box.h - 4)
    panel.sheet.box(bar, "#22252b", round_by=2)
    if share > 0:
        panel.sheet.box(replace(bar, w=max(2.0, bar.w * share)), colour, round_by=2)
    panel.sheet.words(
        box.x + 0.86 * box.w, middle, panel.written(value), size=size, colour=colour, bold=True
    )


# --- states ---------------------------------------------------------------------------------------


def _draw_states(panel: _Panel) -> None:
    space = panel.head()
    words = panel.defaults["mappings"][0]["options"]
    widest = max((len(each.name) for each in panel.series), default=0)
    left = min(0.5 * space.w, 7.2 * widest + 10)
    axes = panel.sheet.axes(space.inside(left=left, bottom=20))
    axes.set_ylim(len(panel.series) - 0.4, -0.6)
    for line, each in enumerate(panel.series):
        for begin, end, value in _spans(each):
            said = words.get(f"{value:g}", {"text": f"{value:g}", "color": "text"})
            axes.barh(
                line, end - begin, left=begin, height=0.8, color=_hex(said["color"]), alpha=0.75
            )
            if end - begin > 0.08 * (panel.shown.end - panel.shown.start):
                axes.text(
                    begin + 0.01 * (panel.shown.end - panel.shown.start),
                    line,
                    said["text"],
                    color="#111217",
                    fontsize=11 * 72 / _DPI,
                    va="center",
                )
    axes.set_yticks(range(len(panel.series)), [each.name for each in panel.series])
    axes.tick_params(axis="y", colors=_TEXT)
    _time_axis(panel, axes, space.w - left)


def _spans(series: Series) -> Iterator[tuple[float, float, float]]:
    """Give each time in which a value stays the same: from, until, value."""
    groups = [
        (value, [at for at, _ in run]) for value, run in groupby(series.points, itemgetter(1))
    ]
    for (value, times), (_, after) in pairwise([*groups, (math.nan, [series.points[-1][0]])]):
        yield times[0], after[0], value


# --- heat -----------------------------------------------------------------------------------------


def _draw_heat(panel: _Panel) -> None:
    space = panel.head()
    buckets = sorted(panel.series, key=lambda each: float(each.labels["le"]))
    curves = [panel.curve(each) for each in buckets]
    times = curves[0][0]
    cells = [
        [_cell(upper - lower) for lower, upper in zip(a, b, strict=True)]
        for a, b in pairwise([[0.0] * len(times), *(values for _, values in curves)])
    ]
    axes = panel.sheet.axes(space.inside(left=_AXIS, bottom=22))
    axes.pcolormesh(
        [*times, times[-1] + panel.shown.step],
        range(len(buckets) + 1),
        cells,
        cmap=LinearSegmentedColormap.from_list("heat", _HEAT),
    )
    bounds = [float(each.labels["le"]) for each in buckets]
    axes.set_yticks(
        range(1, len(buckets) + 1),
        [panel.written(b) if math.isfinite(b) else "+Inf" for b in bounds],
    )
    _marks(panel, axes)
    _time_axis(panel, axes, space.w - _AXIS)


def _cell(count: float) -> float:
    """Return how strong a cell is; nothing is seen of none."""
    return math.sqrt(count) if count > _COUNT_MIN else math.nan


# --- lines ----------------------------------------------------------------------------------------


def _draw_lines(panel: _Panel) -> None:
    space = panel.head()
    series = [each for each in panel.series if any(math.isfinite(v) for _, v in each.points)]
    if not series:
        _nothing(panel, space)
        return
    legend = _draw_legend(panel, space, series)
    axes = panel.sheet.axes(space.inside(left=_AXIS, bottom=22 + legend))
    axes.grid(axis="both", color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    below: dict[float, float] = {}
    for index, each in enumerate(series):
        _draw_line(panel, axes, each, panel.colour(each.name, index), below)
    _value_axis(panel, axes)
    _thresholds(panel, axes)
    _marks(panel, axes)
    _time_axis(panel, axes, space.w - _AXIS)


def _draw_line(
    panel: _Panel, axes: Axes, series: Series, colour: str, below: dict[float, float]
) -> None:
    stacking = panel.override(series.name, "custom.stacking", panel.custom["stacking"])
    fill = panel.override(series.name, "custom.fillOpacity", panel.custom["fillOpacity"]) / 100
    width = panel.override(series.name, "custom.lineWidth", panel.custom["lineWidth"])
    dashed = panel.override(series.name, "custom.lineStyle", {"fill": "solid"})["fill"] == "dash"
    times, values = panel.curve(series)
    floor = [0.0] * len(times)
    if stacking["mode"] == "normal":
        floor = [below.get(at, 0.0) for at in times]
        values = [low + value for low, value in zip(floor, values, strict=True)]
        below.update((at, v) for at, v in zip(times, values, strict=True) if math.isfinite(v))
    step: Literal["post"] | None = "post" if panel.custom["drawStyle"] == "bars" else None
    if width:
        axes.plot(
            times, values, color=colour, linewidth=1.1 * width, dashes=(6, 4) if dashed else ()
        )
    if fill:
        axes.fill_between(times, floor, values, color=colour, alpha=fill, linewidth=0, step=step)


def _draw_legend(panel: _Panel, space: _Box, series: Sequence[Series]) -> float:
    """Write the names below, in a few lines at most; return the height of that."""
    names = [(each.name, panel.colour(each.name, index)) for index, each in enumerate(series)]
    lines: list[list[tuple[str, str, float]]] = [[]]
    x = 0.0
    for name, colour in names:
        width = 7.0 * len(name) + 34
        if x + width > space.w and lines[-1]:
            lines.append([])
            x = 0.0
        lines[-1].append((name, colour, x))
        x += width
    left_out = sum(len(line) for line in lines[_LEGEND_LINES_MAX:])
    lines = lines[:_LEGEND_LINES_MAX]
    if left_out:
        *_, (_, _, last) = lines[-1]
        lines[-1][-1] = (f"and {left_out + 1} more", _DIM, last)
    top = space.y + space.h - len(lines) * _LEGEND_LINE + _LEGEND_LINE / 2 + 3
    for number, line in enumerate(lines):
        y = top + number * _LEGEND_LINE
        for name, colour, at in line:
            panel.sheet.box(_Box(space.x + at, y - 2, 14, 4), colour, round_by=1)
            panel.sheet.words(space.x + at + 19, y, name, size=11.5)
    return len(lines) * _LEGEND_LINE + 2


def _value_axis(panel: _Panel, axes: Axes) -> None:
    unit = panel.defaults["unit"]
    if panel.custom["scaleDistribution"]["type"] == "log":
        axes.set_yscale("log")
        axes.set_ylim(bottom=panel.defaults["min"])
        axes.yaxis.set_major_locator(FixedLocator(_LOG_TICKS))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        low, high = axes.get_ylim()
        low = panel.defaults.get("min", min(low, panel.custom.get("axisSoftMin", low)))
        high = max(high, panel.custom.get("axisSoftMax", high))
        high = high if high > low else low + 1
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(MultipleLocator(_even(high - low, unit, panel.defaults)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit)))


def _even(span: float, unit: str, defaults: Mapping[str, Any]) -> float:
    """Return a distance of ticks that is a round number of the unit."""
    base = 1024**2 if unit == "bytes" else 1.0
    steps = [base * n * 10**e for e in range(-4, 9) for n in (1, 2, 5)]
    if unit == "s" and span > _MINUTE:
        steps = [*range(30, 601, 30), 900, 1800, *range(3600, 86400, 3600)]
    if defaults.get("decimals") == 0:
        steps = [step for step in steps if step >= 1]
    return next((step for step in steps if span / step <= _LINES_MAX), span)


def _thresholds(panel: _Panel, axes: Axes) -> None:
    if panel.custom["thresholdsStyle"]["mode"] == "off":
        return
    _, high = axes.get_ylim()
    for step in panel.defaults["thresholds"]["steps"][1:]:
        if step["value"] <= high:
            axes.axhline(step["value"], color=_hex(step["color"]), linewidth=1.2, dashes=(5, 4))


# --- what panels with a time axis share -----------------------------------------------------------


def _time_axis(panel: _Panel, axes: Axes, width: float) -> None:
    start, end = panel.shown.start, panel.shown.end
    most = min(_TICKS_MAX, width / _PIXELS_A_TICK)
    step = next(s for s in _SECONDS_A_TICK if (end - start) / s <= most)
    ticks = list(range(int(start // step + 1) * step, int(end) + 1, step))
    form = "%H:%M" if step >= 60 else "%H:%M:%S"
    axes.set_xlim(start, end)
    axes.set_xticks(ticks, [datetime.fromtimestamp(at, UTC).strftime(form) for at in ticks])


def _marks(panel: _Panel, axes: Axes) -> None:
    for mark in panel.shown.marks:
        axes.axvline(mark.at, color=_hex(mark.colour), linewidth=1, dashes=(3, 3), alpha=0.8)
        axes.plot(
            [mark.at],
            [0],
            marker="^",
            markersize=5,
            color=_hex(mark.colour),
            clip_on=False,
            transform=axes.get_xaxis_transform(),
        )


def _nothing(panel: _Panel, space: _Box) -> None:
    told = panel.defaults.get("noValue", "No data")
    panel.sheet.words(
        space.x + space.w / 2, space.y + space.h / 2, told, size=14, colour=_DIM, across="center"
    )


_DRAWN: Final[Mapping[str, Callable[[_Panel], None]]] = {
    "stat": _draw_stat,
    "bargauge": _draw_bars,
    "state-timeline": _draw_states,
    "heatmap": _draw_heat,
    "timeseries": _draw_lines,
}
