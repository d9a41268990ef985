"""Figures of a report with matplotlib (extra ``plot``): functions draw on axes and return them.

A report is the output of ``smotext evaluate``: its directory, its ``report.json``, or that file's
content. Axes are created if none are given, so that figures combine with your own::

    figure, (left, right) = plt.subplots(1, 2)
    smotext_ray.plot.class_balance("report", ax=left)
    smotext_ray.plot.utility("report", ax=right)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smotext_ray.errors import UserError
from smotext_ray.evaluation.report.words import in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["class_balance", "embedding_map", "length", "utility"]

REAL, SYNTHETIC = "#4c72b0", "#dd8452"
SAME_MARKERS = 10  # number of class colors before they repeat


def class_balance(report: Any, ax: Axes | None = None) -> Axes:
    """Rows per class: real ones, and the synthetic ones on top.

    Parameters
    ----------
    report : str, Path or mapping
    ax : matplotlib.axes.Axes, optional
        Default: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    UserError
        If there is no report, or it lacks this section; likewise for all figures.
    """
    rows = sorted(_section(report, "classes"), key=lambda row: int(row["real"]))
    labels = [str(row["label"]) for row in rows]
    real, new = [row["real"] for row in rows], [row["accepted"] for row in rows]
    ax = _axes(ax)
    ax.barh(labels, real, color=REAL, label="real")
    ax.barh(labels, new, left=real, color=SYNTHETIC, label="synthetic")
    ax.set(xlabel="rows", title="Class balance")
    ax.legend(loc="lower right")
    return ax


def embedding_map(report: Any, ax: Axes | None = None) -> Axes:
    """Real and synthetic texts on the first two principal components of the real ones.

    Parameters
    ----------
    report, ax
        As in `class_balance`. Rings are real texts, dots synthetic ones. Each class with synthetic
        texts has a color; the others are gray.
    """
    found = _section(report, "map")
    ax = _axes(ax)
    points = found["points"]
    colored = list(dict.fromkeys(str(p["label"]) for p in points if p["kind"] == "synthetic"))
    groups: dict[str | None, list[Any]] = {None: [], **{label: [] for label in colored}}
    for point in points:
        own_label = str(point["label"])
        groups[own_label if own_label in groups else None].append(point)
    for label, own in groups.items():
        color = "lightgray" if label is None else f"C{colored.index(label) % SAME_MARKERS}"
        for kind, style in (
            ("real", {"facecolors": "none", "edgecolors": color, "linewidths": 0.8}),
            ("synthetic", {"color": color}),
        ):
            of_kind = [p for p in own if p["kind"] == kind]
            if of_kind:
                name = f"{label}, {kind}" if label is not None else "other classes"
                x, y = [p["x"] for p in of_kind], [p["y"] for p in of_kind]
                ax.scatter(x, y, s=14, label=name, **style)
    shares = [f"{100 * share:.0f}%" for share in found["explained"]]
    ax.set(
        xlabel=f"component 1 ({shares[0]} of the variance)",
        ylabel=f"component 2 ({shares[1]})",
        title="Real and synthetic texts",
    )
    ax.legend(fontsize="small")
    return ax


def length(report: Any, ax: Axes | None = None) -> Axes:
    """Lengths in words of real and synthetic texts of the same classes, as a share of each group.

    Parameters
    ----------
    report, ax
        As in `class_balance`.
    """
    known = {each["name"]: each for each in _section(report, "histograms")}
    if "length" not in known:
        raise UserError("The report has no lengths; evaluate the run again.")
    found, ax = known["length"], _axes(ax)
    for series, color in zip(found["series"], (REAL, SYNTHETIC), strict=False):
        edges, total = series["edges"], max(sum(series["counts"]), 1)
        ax.stairs(
            [count / total for count in series["counts"]],
            edges,
            fill=True,
            alpha=0.5,
            color=color,
            label=series["name"],
        )
    ax.set(xlabel=found["unit"], ylabel="share of texts", title="Length", xscale=found["scale"])
    ax.legend()
    return ax


def utility(
    report: Any,
    ax: Axes | None = None,
    *,
    classifier: str = "embedding",
    metric: str = "macro_f1",
) -> Axes:
    """Scores of a classifier by training data, with 95% intervals.

    Parameters
    ----------
    report, ax
        As in `class_balance`.
    classifier : {"embedding", "tfidf", "bert"}, default="embedding"
    metric : {"macro_f1", "accuracy", "balanced_accuracy"}, default="macro_f1"
    """
    every = _section(report, "utility").get("rows", [])
    rows = [r for r in every if (r["classifier"], r["metric"]) == (classifier, metric)]
    if not rows:
        there = sorted({f"{row['classifier']}, {row['metric']}" for row in every})
        raise UserError(
            f"The report has no {metric} of the classifier {classifier!r}; it has: "
            f"{'; '.join(there) or 'none'}."
        )
    rows = sorted((row for row in rows if row["mean"] is not None), key=lambda row: row["mean"])
    ax = _axes(ax)
    for place, row in enumerate(rows):
        color = SYNTHETIC if row["arm"] in ("real_and_synthetic", "synthetic_only") else REAL
        if row["low"] is not None and row["high"] is not None:
            ax.plot([row["low"], row["high"]], [place, place], color=color, linewidth=1.5)
        ax.plot(row["mean"], place, "o", color=color)
    ax.set_yticks(range(len(rows)), [in_words(row["arm"]) for row in rows])
    ax.set(xlabel=in_words(metric), title=f"Utility: {in_words(classifier)}")
    return ax


def _section(report: Any, name: str) -> Any:
    """A section of a report."""
    content = report if isinstance(report, Mapping) else _read(Path(report))
    if not content.get(name):
        raise UserError(f"The report has no section {name!r}; see smotext evaluate --help.")
    return content[name]


def _read(path: Path) -> Mapping[str, Any]:
    file = path / "report.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; write it with smotext evaluate.") from None
    except ValueError:
        raise UserError(f"{file} is not a report of smotext evaluate.") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} is not a report of smotext evaluate.")
    return content


def _axes(ax: Axes | None) -> Any:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise UserError(
            "Figures need matplotlib; install it with: pip install matplotlib"
        ) from None
    return pyplot.subplots(layout="constrained")[1]
