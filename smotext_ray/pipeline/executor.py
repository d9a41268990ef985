"""What the stages ask of whoever carries them out: on Ray, or in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.actors import Actors
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import JobFacts
from smotext_ray.utils.cpu import Dtype


class Executor(Protocol):
    """Carries out the stages; knows nothing of their order, nor of the manifest.

    Every job may be killed and called again: what is written whole is kept, the rest is made.
    """

    def encoder_dtype(self, config: RunConfig) -> Dtype:
        """What ``encoder.dtype=auto`` means here.

        Raises
        ------
        UserError
            If there is no room for one actor of each kind.
        """

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The function's result; it may take memory that grows with the corpus."""

    def embed(
        self,
        config: RunConfig,
        run: Run,
        actors: Actors,
        *,
        files: list[str],
        directory: str,
        done: str,
        rows: int,
    ) -> int:
        """Embed the rows of corpus files into a directory of the run.

        Parameters
        ----------
        config : RunConfig
        run : Run
        actors : Actors
        files : list of str
            Paths for ``run.fs``.
        directory : str
            Of the run, which may hold some of the rows.
        done : str
            Directory of the run with the ids of finished rows; none if it does not exist.
        rows : int
            Rows that the directory is to hold.

        Returns
        -------
        int
            Actors that worked on it.
        """

    def plan(
        self,
        config: RunConfig,
        run: Run,
        actor: Any,
        items: list[dict[str, str]],
        *,
        stage: str,
        rows: int,
        memory_gib: float,
        **given: Any,
    ) -> list[dict[str, str]]:
        """Write a file for each item.

        Parameters
        ----------
        config : RunConfig
        run : Run
        actor : class
            Item -> row of at least ``file`` and ``sha256``.
        items : list of dict
            See `smotext_ray.pipeline.plan_files.group_item`.
        stage : str
        rows : int
            Of all files.
        memory_gib : float
            What one actor takes; 0 if the work is less than the start of a pool.
        **given
            For the actor's constructor.

        Returns
        -------
        list of dict
            A row a file, by its name.
        """

    def decode(
        self,
        config: RunConfig,
        run: Run,
        actors: Actors,
        *,
        classes: list[Any],
        plan: str,
        samples: str,
        job: str,
        done: str,
        stage: str,
        points: int,
    ) -> JobFacts:
        """Decode a directory of plan rows and let the gate judge the texts.

        See `smotext_ray.pipeline.decode.decode_directory`.
        """
