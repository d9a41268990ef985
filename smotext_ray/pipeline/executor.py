"""The interface of an executor, which runs the stages on Ray or in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.actors import Actors
from smotext_ray.pipeline.jobs import DecodeJob, EmbedJob, PlanJob
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import JobFacts
from smotext_ray.utils.cpu import Dtype


class Executor(Protocol):
    """Carries out the stages; knows neither their order nor the manifest.

    Every job may be killed and called again: complete files are kept, and the rest is redone.
    """

    @property
    def actors(self) -> Actors:
        """The actor classes that do the work."""

    def encoder_dtype(self, config: RunConfig) -> Dtype:
        """The dtype that ``encoder.dtype=auto`` stands for here.

        Raises
        ------
        UserError
            If there is no room for one actor of each kind.
        """

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a function, which may need memory that grows with the corpus."""

    def embed(self, config: RunConfig, run: Run, job: EmbedJob, done: str) -> int:
        """Embed the rows that are not done.

        Parameters
        ----------
        config : RunConfig
        run : Run
        job : EmbedJob
        done : str
            Directory of the run with the ids of finished rows; none if it does not exist.

        Returns
        -------
        int
            Number of actors that worked on it.
        """

    def adapt(self, config: RunConfig, run: Run, rows: int) -> dict[str, Any]:
        """Adapt the bridge to the run's embedded texts; ``rows`` is their number.

        Returns
        -------
        dict
            See `smotext_ray.pipeline.adapt.adapt_bridge`.
        """

    def plan(self, config: RunConfig, run: Run, job: PlanJob) -> list[dict[str, str]]:
        """Write one file per group.

        Returns
        -------
        list of dict
            The row that the actor returned for each file, sorted by file name.
        """

    def decode(self, config: RunConfig, run: Run, job: DecodeJob, done: str) -> JobFacts:
        """Decode the plan rows that are not done and let the gate judge the texts.

        Parameters
        ----------
        config : RunConfig
            Its ``decoder`` and ``gate`` settings apply to this job.
        run : Run
        job : DecodeJob
        done : str
            As in `embed`.
        """
