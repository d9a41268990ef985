"""The job between embed and plan, with epsilon: from ``clipped/`` to a release to points.

The release is drawn once and kept: a killed run resumes with the same one. It is charged to the
ledger of the corpus before the noise is drawn. If the run is killed between the two, the ledger has
counted a release that nobody has seen, and the next attempt is charged again.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.pipeline.executor import Executor
from smotext_ray.privacy.points import class_rows
from smotext_ray.privacy.release import Release, least_count, release
from smotext_ray.privacy.sums import ClassSums
from smotext_ray.run.directory import CLIPPED, Run
from smotext_ray.run.facts import StageFacts
from smotext_ray.run.ledger import Ledger
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.release import has_release, point_tables, read_release, write_release
from smotext_ray.tables import matrix

log = logging.getLogger("smotext_ray")


def release_corpus(config: RunConfig, run: Run, manifest: Manifest, executor: Executor) -> None:
    """Release the corpus, draw ``embeddings/`` from the release, and delete the texts.

    From then on the manifest has no count, time or column that comes from the corpus.

    Raises
    ------
    UserError
        If the ledger refuses the release, or fewer than two classes are large enough for it.
    """
    if "release" not in manifest.stages:
        if not has_release(run):
            _release(config, run, manifest, executor)
        found = read_release(run)
        _check_classes(config, found)
        run.seal(executor.call(write_points, config, run), "embeddings")
        _forget_counts(manifest, found)
        manifest.stages["release"] = StageFacts(seconds=0.0)
        manifest.save(run)
    # Only after the stage is recorded as done, in case of a kill.
    for directory in (CLIPPED, "corpus"):
        run.clear(directory)


def _release(config: RunConfig, run: Run, manifest: Manifest, executor: Executor) -> None:
    labels = _labels(config, run, manifest)
    sums = executor.call(sum_classes, run, labels)
    # The noise is drawn in the driver, where no retry of a task could draw it twice.
    Ledger(config).charge(run, manifest.created, config)
    run.check_lease()
    noised = release(sums, labels, config.privacy)
    run.check_lease()
    write_release(run, noised)


def sum_classes(run: Run, labels: list[Any]) -> ClassSums:
    """Count and sum the clipped records of each class; other records are ignored."""
    table = run.table(CLIPPED)
    code = {label: number for number, label in enumerate(labels)}
    width = table.schema.field("embedding").type.list_size
    total = ClassSums.of(np.empty((0, width), np.int64), np.empty(0, np.int64), len(labels))
    for file in sorted(table.files):
        rows = run.read_table(file, ["label", "embedding"])
        codes = np.array([code.get(label, -1) for label in rows["label"].to_pylist()], np.int64)
        total = total + ClassSums.of(matrix(rows["embedding"]).astype(np.int64), codes, len(labels))
    return total


def write_points(config: RunConfig, run: Run) -> list[str]:
    """Write ``embeddings/`` (``id, label, embedding``): points that depend only on the release.

    Returns
    -------
    list of str
        Names of the files.
    """
    run.clear("embeddings")
    directory = run.make("embeddings")
    names = []
    for number, table in enumerate(point_tables(config, read_release(run))):
        names.append(f"part-{number:05d}.parquet")
        pq.write_table(table, f"{directory}/{names[-1]}", filesystem=run.fs)
    run.sync([f"{directory}/{name}" for name in names])
    return names


def _labels(config: RunConfig, run: Run, manifest: Manifest) -> list[Any]:
    """The classes that may be released: those declared, in the corpus's type, or else all."""
    declared = config.privacy.classes
    if declared is None:
        return manifest.labels
    kind = run.table(CLIPPED).schema.field("label").type
    try:
        return list(pa.array(declared).cast(kind).to_pylist())
    except pa.ArrowInvalid as error:
        raise UserError(
            f"privacy.classes does not fit the label column, whose type is {kind}; name its "
            "classes."
        ) from error


def _check_classes(config: RunConfig, found: Release) -> None:
    if len(found.labels) < 2:
        raise UserError(
            f"{len(found.labels)} of the classes has the {least_count(config.privacy):.0f} rows "
            "that a class needs at this epsilon; use a larger epsilon or a larger corpus, or "
            "declare public class names with privacy.classes, in another --output."
        )


def _forget_counts(manifest: Manifest, found: Release) -> None:
    """Keep in the manifest only what follows from the release."""
    counts = dict(zip(found.labels, class_rows(found), strict=True))
    facts = manifest.input
    facts.class_counts, facts.rows = counts, sum(counts.values())
    facts.bad_rows, facts.files, facts.digest = {}, None, None
    if facts.class_names is not None:
        names = facts.class_names
        facts.class_names = {label: names[label] for label in found.labels if label in names}
    for name in ("corpus", "embed"):
        manifest.stages[name] = StageFacts(seconds=0.0)
