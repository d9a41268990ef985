"""What Prometheus is told of a run: the metrics, and the one place where they are set.

The process that runs the stages sets them, from the counts that the actors send to the
stage's counter; Ray exports them with its own, under these names with ``ray_`` before, and
``_total`` behind a counter.
"""

from __future__ import annotations

from typing import Any

# Name to what it counts and its own tags. No label of the corpus is a tag: there may be
# thousands, and a label can say what a text is about.
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "smotext_rows": (
        "Rows that a stage has finished: texts embedded, points planned, points decoded and "
        "judged. A block that is done again after a kill counts once.",
        (),
    ),
    "smotext_repeated_rows": ("Rows that a stage has done again, after a kill.", ()),
    "smotext_tokens": (
        "Tokens that the LLM has made, for all candidates; those of a block that is decoded "
        "again count again.",
        (),
    ),
    "smotext_samples": (
        "Decoded points by the gate's word: accepted, rejected (reason: the rule) or error "
        "(nothing was decoded). A block that is done again counts once; that two accepted "
        "texts are the same is found later, and not told here.",
        ("status", "reason"),
    ),
    "smotext_restarts": (
        "Actors that Ray has started anew after their process, engine or node was lost.",
        ("actor",),
    ),
}
GAUGES = {
    "smotext_rows_to_do": "Rows of the stage under way that are not finished.",
}
TAGS = ("run", "stage")


class StageMetrics:
    """The metrics of one stage of a run.

    Parameters
    ----------
    run : str
        The run's name, as `smotext_ray.run.log.run_name` gives it.
    stage : str
    """

    def __init__(self, run: str, stage: str) -> None:
        from ray.util import metrics

        tags = {"run": run, "stage": stage}
        self._metrics: dict[str, Any] = {}
        for name, (told, own_tags) in COUNTERS.items():
            self._metrics[name] = metrics.Counter(name, told, (*TAGS, *own_tags))
        for name, told in GAUGES.items():
            self._metrics[name] = metrics.Gauge(name, told, TAGS)
        for metric in self._metrics.values():
            metric.set_default_tags(tags)

    def count(self, name: str, *own_tags: str, number: int) -> None:
        """Raise a counter by a number above 0; its own tags in the order of `COUNTERS`."""
        tags = dict(zip(COUNTERS[name][1], own_tags, strict=True))
        self._metrics[name].inc(number, tags)

    def set_rows_to_do(self, rows: int) -> None:
        """To be called over and over: Ray forgets a gauge that is not set for 20 seconds."""
        self._metrics["smotext_rows_to_do"].set(rows)
