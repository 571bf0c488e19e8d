"""The report's figures and thumbnails, as data URIs for an HTML page without other files."""

import base64
import io
from collections.abc import Mapping

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lrdnn_tf.evaluation.ranking import Ranking

_COLOURS = ("#6b7a90", "#d97706", "#0f766e")  # one per phase
_INK, _MUTED, _GRID, _BLANK = "#1f2933", "#5b6776", "#e3e7ec", "#f1f3f6"
_LINES = (  # one per ranking
    {"linestyle": "-", "linewidth": 2},
    {"linestyle": (0, (4, 2)), "linewidth": 1.4},
    {"linestyle": (0, (1, 1.5)), "linewidth": 1.4},
)
_THUMBNAIL_HEIGHT = 192
_JPEG_QUALITY = 88


def cmc_curves(rankings: Mapping[str, Mapping[str, Ranking]]) -> str:
    """CMC to rank 50 of every phase, a colour each, and of each of its rankings, a line style each.

    Args:
        rankings: Rankings of each phase, by phase and by name; every phase has the same names.
    """
    figure, axes = _figure(6.4, 4.0)
    for (phase, named), colour in zip(rankings.items(), _COLOURS, strict=False):
        for number, (ranking, style) in enumerate(zip(named.values(), _LINES, strict=False)):
            ranks = np.arange(1, len(ranking.cmc) + 1)
            axes.plot(ranks, 100 * ranking.cmc, color=colour, label=None if number else phase, **style)
    for name, style in list(zip(named, _LINES, strict=False))[1:]:
        axes.plot([], [], color=_MUTED, label=name, **style)
    axes.set(xlabel="Rank k", ylabel="Queries with a match in the first k (%)", xlim=(1, len(ranks)))
    axes.set_ylim(top=101)
    axes.set_xticks([1, 5, 10, 20, 30, 40, 50])
    axes.legend(frameon=False, loc="lower right", labelcolor=_INK)
    return _png(figure)


def precision_histogram(rankings: Mapping[str, Ranking]) -> str:
    """Distribution of average precision over the queries: the first ranking as bars, the others as outlines."""
    figure, axes = _figure(6.4, 4.0)
    edges = np.linspace(0, 100, 21)
    style = {"color": _COLOURS[2], "alpha": 0.85}
    for name, ranking in rankings.items():
        axes.hist(100 * ranking.average_precisions[ranking.match_counts > 0], edges, label=name, **style)
        style = {"color": _INK, "histtype": "step", "linewidth": 1.5}
    axes.set(xlabel="Average precision of a query (%)", ylabel="Queries", xlim=(0, 100))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, labelcolor=_INK)
    return _png(figure)


def camera_heat_map(pairs: pd.DataFrame) -> str:
    """mAP of each camera's queries in the images of each other camera; pairs without a match are grey."""
    table = 100 * pairs.pivot(index="query_camera", columns="gallery_camera", values="mAP")
    figure, axes = _figure(1.6 + 0.75 * len(table.columns), 1.2 + 0.55 * len(table.index))
    axes.grid(False)
    axes.set_facecolor(_BLANK)
    axes.spines[:].set_visible(False)
    axes.imshow(table, cmap="YlGnBu", vmin=0, vmax=100, aspect="auto")
    for row, column in np.argwhere(table.notna().to_numpy()):
        value = table.iat[row, column]
        colour = "white" if value > 55 else _INK
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=10)
    axes.set_xticks(range(len(table.columns)), table.columns)
    axes.set_yticks(range(len(table.index)), table.index)
    axes.set(xlabel="Camera of the gallery images", ylabel="Camera of the query")
    axes.tick_params(length=0)
    return _png(figure)


def thumbnail(image: bytes) -> str:
    """The bytes of an image file (JPEG, PNG) as a JPEG of a fixed height."""
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    height, width = pixels.shape[:2]
    size = (max(1, round(width * _THUMBNAIL_HEIGHT / height)), _THUMBNAIL_HEIGHT)
    shrinks = height > _THUMBNAIL_HEIGHT
    return _jpeg(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))


def picture(image: np.ndarray) -> str:
    """A uint8 RGB image [height, width, 3] as a JPEG."""
    return _jpeg(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def _figure(width: float, height: float):
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, labelsize=9)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    return figure, axes


def _png(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160)
    return _data_uri("image/png", file.getvalue())


def _jpeg(pixels: np.ndarray) -> str:
    _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return _data_uri("image/jpeg", content.tobytes())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
