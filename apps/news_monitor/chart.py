"""The picture in the mail: 28 days of a topic, what was usual, and the day that was not."""

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from apps.news_monitor.evidence import Evidence

WIDTH, HEIGHT, DPI = 6.0, 2.3, 200
GREY, BAND, RED, INK = "#d5d9e0", "#7fa3cf", "#c62828", "#333a45"
WINDOW = "#fdecea"
PLOT = (0.085, 0.11, 0.905, 0.74)  # left, bottom, width, height; room for four digits and a legend


def chart_png(evidence: Evidence) -> bytes:
    """Bars of all stories and of the negative ones by day, with the usual range of the latter.

    1200 x 460 pixels, for 600 shown; the same evidence gives the same bytes.
    """
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI)
    FigureCanvasAgg(figure)
    # A layout that finds its own margins draws everything twice.
    axes = figure.add_axes(PLOT)
    days = evidence.days
    nothing = [0] * len(days)
    _bars(axes, nothing, [d.stories for d in days], 0.8, GREY, label="all stories", zorder=1)
    _bars(axes, nothing, [d.negative for d in days], 0.5, RED, label="negative", zorder=3)
    usual = [d.low for d in days], [d.high for d in days]
    _bars(axes, *usual, 1.0, BAND, alpha=0.6, label="usual range of negative", zorder=2)
    length = evidence.window_hours / 24
    axes.axvspan(len(days) - 0.5 - length, len(days) - 0.5, color=WINDOW, zorder=0, linewidth=0)
    if days:
        last = len(days) - 1
        axes.annotate(
            str(days[-1].negative),
            (last, days[-1].negative),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            fontweight="bold",
            color=RED,
            zorder=4,
        )
        ticks = sorted(range(last, -1, -7))
        # A day is named by the date its 24 hours end in, as the mail's first sentence speaks of it.
        labels = [f"{days[i].end:%d %b}".lstrip("0") for i in ticks]
        axes.set_xticks(ticks, labels)
        axes.set_xlim(-0.7, last + 0.9)
    _plain_axes(axes, max((d.stories for d in days), default=1))
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="upper left",
        ncols=3,
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        handlelength=1.2,
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _bars(
    axes: Axes,
    bottoms: Sequence[int],
    tops: Sequence[int],
    width: float,
    color: str,
    **style: Any,
) -> None:
    """One for each day, as one artist: eighty of them took half of the drawing."""
    half = width / 2
    corners = [
        [(day - half, low), (day - half, high), (day + half, high), (day + half, low)]
        for day, (low, high) in enumerate(zip(bottoms, tops, strict=True))
    ]
    axes.add_collection(PolyCollection(corners, facecolor=color, linewidth=0, **style))


def _plain_axes(axes: Axes, top: int) -> None:
    """Room above the highest bar, whole numbers, and no lines that say nothing."""
    axes.set_ylim(0, max(top * 1.15, 3))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("stories a day", color=INK, fontsize=8)
    axes.tick_params(labelsize=8, colors=INK, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
