"""A run's Prometheus metrics, and the only place where they are set.

The process that runs the stages sets them, from the counts that actors send to the stage's counter.
Ray exports them with its own metrics, with the prefix ``ray_`` and, for counters, the suffix
``_total``.
"""

from __future__ import annotations

from typing import Any

# Name to description and additional tags. Class labels are never tags: there may be thousands, and
# a label can reveal what a text is about.
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "smotext_rows": (
        "Rows that a stage has finished: texts embedded, points planned, points decoded and "
        "filtered. A block repeated after a kill counts once.",
        (),
    ),
    "smotext_repeated_rows": ("Rows that a stage has repeated after a kill.", ()),
    "smotext_tokens": (
        "Tokens that the LLM has generated, for all candidates; repeated blocks count again.",
        (),
    ),
    "smotext_samples": (
        "Decoded points by the gate's decision: accepted, rejected (reason: the rule) or error "
        "(nothing was decoded). A repeated block counts once; duplicates among accepted texts "
        "are found later and not counted here.",
        ("status", "reason"),
    ),
    "smotext_restarts": (
        "Actors that Ray has restarted after their process, engine or node was lost.",
        ("actor",),
    ),
}
GAUGES = {
    "smotext_rows_to_do": "Unfinished rows of the stage in progress.",
}
TAGS = ("run", "stage")


class StageMetrics:
    """The metrics of one stage of a run.

    Parameters
    ----------
    run : str
        The run's name, from `smotext_ray.run.log.run_name`.
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
        """Increase a counter by a positive number; additional tags in the order of `COUNTERS`."""
        tags = dict(zip(COUNTERS[name][1], own_tags, strict=True))
        self._metrics[name].inc(number, tags)

    def set_rows_to_do(self, rows: int) -> None:
        """Set the gauge; repeatedly, because Ray drops one that is not set for 20 seconds."""
        self._metrics["smotext_rows_to_do"].set(rows)
