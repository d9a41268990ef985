"""The jobs of a run: what each reads, what it writes, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class EmbedJob:
    """Turn rows of the corpus into embeddings, one row each.

    Attributes
    ----------
    name : str
        Name in ``checkpoints/``.
    files : list of str
        Files with the rows, as paths for ``run.fs``.
    directory : str
        Directory of the run to write to, which may hold some of the rows.
    rows : int
        Number of rows that the directory should have.
    """

    id_column: ClassVar[str] = "id"

    name: str
    files: list[str]
    directory: str
    rows: int


@dataclass(frozen=True)
class PlanJob:
    """Turn groups of shards into plan files, or files of source weights, one file each.

    Attributes
    ----------
    actor : class
        Maps a group to a row of at least ``file`` and ``sha256``.
    arguments : mapping
        For the actor's constructor, in addition to ``config``, ``run_uri`` and ``counter``.
    groups : list of dict
        See `smotext_ray.pipeline.plan_files.group_item`.
    stage : str
        Name in progress and log.
    rows : int
        Number of rows of all files.
    memory_gib : float
        Memory of one actor; 0 if the job takes less time than starting a pool.
    """

    actor: Any
    arguments: Mapping[str, Any]
    groups: list[dict[str, str]]
    stage: str
    rows: int
    memory_gib: float


@dataclass(frozen=True)
class DecodeJob:
    """Turn plan rows into samples, one row each: decoded, then judged by the gate.

    Attributes
    ----------
    name : str
        Name in ``checkpoints/``, where attempts at rows are recorded too.
    stage : str
        Name in progress and log.
    plan, directory : str
        Directories of the run to read from and to write to.
    rows : int
        Number of rows of the plan.
    labels : list
        All labels of the corpus, in the order of the gate's reference.
    actor : class
        The decoder.
    arguments : mapping
        For the decoder's constructor, in addition to ``config``, ``counter`` and ``points``.
    """

    id_column: ClassVar[str] = "sample_id"

    name: str
    stage: str
    plan: str
    directory: str
    rows: int
    labels: list[Any]
    actor: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)
