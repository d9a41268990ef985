"""What the stages need of an executor, which runs them on Ray or in this process."""

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
    """Carries out the stages; knows nothing of their order, nor of the manifest.

    Every job may be killed and called again: what is written whole is kept, the rest is made.
    """

    @property
    def actors(self) -> Actors:
        """The classes that do the work."""

    def encoder_dtype(self, config: RunConfig) -> Dtype:
        """What ``encoder.dtype=auto`` means here.

        Raises
        ------
        UserError
            If there is no room for one actor of each kind.
        """

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The function's result; it may take memory that grows with the corpus."""

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
        """Adapt the bridge to the run's embedded texts, of which there are ``rows``.

        Returns
        -------
        dict
            As `smotext_ray.pipeline.adapt.adapt_bridge`.
        """

    def plan(self, config: RunConfig, run: Run, job: PlanJob) -> list[dict[str, str]]:
        """Write the file of each group.

        Returns
        -------
        list of dict
            The actor's row of each file, by file name.
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
