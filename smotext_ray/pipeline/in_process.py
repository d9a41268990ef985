"""A small corpus in this process: the stages of a run without Ray, files or a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from smotext_ray.config.schema import RunConfig
from smotext_ray.gate.cleaning import cleaning_of
from smotext_ray.gate.judge import Judge
from smotext_ray.gate.reference import sum_up
from smotext_ray.pipeline.actors import with_candidates
from smotext_ray.plan.classes import read_classes, read_corpus, read_texts
from smotext_ray.plan.neighbors import Nearest
from smotext_ray.plan.points import plan_shard, with_texts
from smotext_ray.plan.shards import shards
from smotext_ray.plan.strategy import check_class_sizes, lacking
from smotext_ray.plan.variants import check_rows
from smotext_ray.plan.weights import count_sources, sources_of, weigh, without_sourceless
from smotext_ray.run.result import first_wanted
from smotext_ray.run.samples import usable
from smotext_ray.tables import fixed_size_list, matrix


@dataclass(frozen=True)
class Augmented:
    """What became of a corpus.

    Attributes
    ----------
    accepted : pyarrow.Table or None
        New texts with their lineage, by rising sample id, no more than were asked for and no
        text twice in a class; None where there was nothing to do.
    warnings : list of str
        Of classes with few texts or none to interpolate with.
    short : dict of label to int
        Texts that are missing of what was asked for.
    """

    accepted: pa.Table | None
    warnings: list[str]
    short: dict[Any, int]


def augment_here(
    corpus: pa.Table,
    wanted: Mapping[Any, int],
    config: RunConfig,
    encoder: Any,
    decoder: Any,
    nearest: Nearest | None = None,
) -> Augmented:
    """Make new texts.

    The plan is that of a run with the same corpus and settings; the texts are, as far as
    equal hardware and batches make them so.

    Parameters
    ----------
    corpus : pyarrow.Table
        ``id, text, label``.
    wanted : mapping of label to int
        New texts of each class.
    config : RunConfig
    encoder : object
        ``encode(texts, batch_size)`` gives an array of shape (texts, d).
    decoder : object
        ``decode(points, seeds)`` gives a `smotext_ray.models.engine.Candidates` a point.
    nearest : callable, optional
        See `smotext_ray.plan.neighbors.other_texts`.

    Raises
    ------
    UserError
        For a class of one distinct text, unless it is to be skipped, or more rows than the
        variant of SMOTE takes.
    """
    check_rows(config.plan.variant, len(corpus))
    x = encoder.encode(corpus["text"].to_pylist(), config.encoder.batch_size)
    embedded = ds.dataset(corpus.append_column("embedding", fixed_size_list(x)))
    labels = corpus["label"].unique().to_pylist()
    reference, distinct = sum_up(embedded, labels)
    kept, warnings = check_class_sizes(
        dict(zip(labels, distinct, strict=True)),
        wanted,
        config.neighbors.k_neighbors,
        config.neighbors.on_singleton_class,
    )
    weights: pa.Table | None = None
    sourceless: list[str] = []
    if config.plan.variant != "smote" and kept:
        weights = weigh_here(embedded, kept, config, nearest)
        kept, sourceless = without_sourceless(kept, count_sources(weights), config)
    label_type = corpus.schema.field("label").type
    cleaning = cleaning_of(config, embedded, labels)
    judge = Judge(encoder, config, reference, labels, label_type, cleaning)
    rounds: list[ds.Dataset] = []
    planned, got = Counter[Any](), Counter[Any]()
    accepted: list[pa.Table] = []
    expected = config.plan.expected_acceptance
    while len(rounds) < config.plan.max_rounds and (
        to_plan := lacking(kept, got, planned, expected)
    ):
        round_ = len(rounds) + 1
        plan = plan_here(embedded, to_plan, round_, planned.total(), config, nearest, weights)
        decoded = decoder.decode(matrix(plan["point"]), plan["seed"].to_pylist())
        rounds.append(ds.dataset(judge(with_candidates(plan, decoded))))
        planned.update(to_plan)
        accepted = list(usable(rounds))
        got = Counter(label for table in accepted for label in table["label"].to_pylist())
    return Augmented(_first(accepted, kept), warnings + sourceless, dict(Counter(kept) - got))


def _first(accepted: list[pa.Table], wanted: Mapping[Any, int]) -> pa.Table | None:
    used: Counter[Any] = Counter()
    parts = [first_wanted(table, used, wanted) for table in accepted]
    return pa.concat_tables(parts) if parts else None


def weigh_here(
    embedded: ds.Dataset,
    points: Mapping[Any, int],
    config: RunConfig,
    nearest: Nearest | None = None,
) -> pa.Table:
    """The weights of all classes that get points: see `smotext_ray.plan.weights.weigh`."""
    texts = read_corpus(
        embedded, embedded.to_table(columns=["label"])["label"].unique().to_pylist()
    )
    (group,) = shards(dict.fromkeys(points, len(texts.code)), 0, 0, len(points) * len(texts.code))
    return weigh(texts, group, points, config, nearest)


def plan_here(
    embedded: ds.Dataset,
    points: Mapping[Any, int],
    round_: int,
    first_id: int,
    config: RunConfig,
    nearest: Nearest | None = None,
    weights: pa.Table | None = None,
) -> pa.Table:
    """The plan of a round, as `smotext_ray.tables.plan_schema` has it.

    Parameters
    ----------
    embedded : pyarrow.dataset.Dataset
        ``id, label, embedding`` and, where they may be known, ``text``.
    points : mapping of label to int
    round_, first_id : int
    config : RunConfig
    nearest : callable, optional
        See `smotext_ray.plan.neighbors.other_texts`.
    weights : pyarrow.Table, optional
        Of a variant of SMOTE.
    """
    (group,) = shards(points, round_, first_id, sum(points.values()))
    classes = read_classes(embedded, [shard.label for shard in group])
    tables = []
    for rows, shard in zip(classes, group, strict=True):
        sources = None if weights is None else sources_of(ds.dataset(weights), rows)
        tables.append(plan_shard(rows, shard, config, nearest, sources))
    return with_texts(pa.concat_tables(tables), lambda rows: read_texts(embedded, rows))
