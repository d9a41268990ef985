"""Verify a run: check its files against each other and against the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from smotext_ray.corpus.blocks import Block
from smotext_ray.corpus.label_sets import read_label_sets
from smotext_ray.run.corpus_files import corpus_table
from smotext_ray.run.directory import CLIPPED, Run, changed_files
from smotext_ray.run.facts import Result, Round
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.release import point_tables, read_release
from smotext_ray.tables import count_labels, matrix


@dataclass(frozen=True)
class Finding:
    """One check: its name, whether it passed, and details."""

    check: str
    ok: bool
    seen: str

    @property
    def is_repairable(self) -> bool:
        """Whether ``smotext verify --repair`` can recreate what is missing or damaged."""
        return not self.check.startswith(("privacy", "embeddings: finite", "bridge: ", "plan: "))


def verify(run: Run) -> list[Finding]:
    """Check all finished stages of a run.

    Ids are compared as sorted arrays, 8 bytes per numeric id; texts and embeddings are read in
    batches.

    Returns
    -------
    list of Finding
    """
    manifest = Manifest.read(run)
    findings = []
    # With epsilon, the output of embed is not yet the embeddings. Runs of earlier versions call
    # the stage that creates them "denoise".
    is_forgotten = not manifest.stages.keys().isdisjoint({"denoise", "release"})
    if manifest.is_private and is_forgotten:
        findings += _tried("privacy", _check_forgotten, run)
    if is_forgotten if manifest.is_private else "embed" in manifest.stages:
        findings += _tried("embeddings", _check_embeddings, run, manifest)
    if "release" in manifest.stages:
        findings += _tried("embeddings", _check_points, run, manifest)
    if manifest.adapted is not None and manifest.adapted.files:
        findings += _tried("bridge", _check_hashes, run, "bridge", manifest.adapted.files)
    if manifest.weights is not None:
        findings += _tried("weights", _check_hashes, run, "weights", manifest.weights.files)
    for entry in manifest.rounds:
        name = entry.name
        findings += _tried(f"plan {name}", _check_plan, run, name, entry)
        findings += _check_plan_hashes(run, name, entry)
        if entry.decode is not None:
            findings += _tried(f"samples {name}", _check_samples, run, name)
    if manifest.result is not None and "result" in manifest.stages:
        findings += _tried("result", _check_result, run, manifest, manifest.result)
    return findings


def how_to_fix(run: Run, findings: list[Finding]) -> str:
    """What to do about the findings, in one sentence."""
    failed = [finding for finding in findings if not finding.ok]
    if all(finding.is_repairable for finding in failed):
        return f"To make what is missing or damaged again, run: smotext verify {run.shown} --repair"
    return "Restore the files from a copy, or begin again in another directory."


def _tried(what: str, check: Callable[..., list[Finding]], *arguments: Any) -> list[Finding]:
    try:
        return check(*arguments)
    except (OSError, ValueError) as error:  # from pyarrow, for missing or damaged files
        return [Finding(f"{what}: can be read", False, str(error).splitlines()[0])]


def _check_embeddings(run: Run, manifest: Manifest) -> list[Finding]:
    table = run.table("embeddings")
    ids = _ids(table, "id")
    wanted = manifest.embedded_rows
    counts = _count(table, "label")
    expected = manifest.embedded_counts
    unfit = sum(
        int((~np.isfinite(batch["embedding"].flatten().to_numpy())).sum())
        for batch in table.to_batches(columns=["embedding"])
    )
    once = len(np.unique(ids)) == len(ids) == wanted
    if not manifest.is_private:
        once = once and _are_among(ids, _ids(corpus_table(run, manifest), "id"))
    return [
        Finding("embeddings: every needed row once", once, f"{len(ids)} of {wanted} rows"),
        Finding("embeddings: rows per class", counts == expected, f"{len(counts)} classes"),
        Finding("embeddings: finite numbers", unfit == 0, f"{unfit} not finite"),
    ]


def _check_forgotten(run: Run) -> list[Finding]:
    left = [name for name in ("corpus", CLIPPED, "noised") if run.has(name)]
    texts = "text" in run.table("embeddings").schema.names
    seen = ", ".join([f"{name}/ exists" for name in left] + ["embeddings/ has texts"] * texts)
    return [Finding("privacy: the corpus's texts are gone", not seen, seen or "no text")]


def _check_points(run: Run, manifest: Manifest) -> list[Finding]:
    """Whether ``embeddings/`` has exactly the points drawn from the release."""
    wanted = pa.concat_tables(point_tables(manifest.config, read_release(run)))
    there = run.table("embeddings").to_table().sort_by("id")
    is_same = there.select(["id", "label"]).equals(wanted.select(["id", "label"])) and np.allclose(
        matrix(there["embedding"]), matrix(wanted["embedding"]), atol=1e-5
    )
    return [Finding("embeddings: points of the release", is_same, f"{len(there)} points")]


def _check_hashes(run: Run, what: str, files: dict[str, str]) -> list[Finding]:
    changed = changed_files(run, files)
    return [Finding(f"{what}: hashes", not changed, f"{len(files)} files, {len(changed)} changed")]


def _check_plan(run: Run, name: str, entry: Round) -> list[Finding]:
    plan = run.table("plan", name)
    planned = _ids(plan, "sample_id")
    counts = _count(plan, "label")
    return [
        Finding(
            f"plan {name}: unique ids",
            len(np.unique(planned)) == len(planned),
            f"{len(planned)} points",
        ),
        Finding(
            f"plan {name}: points per class",
            counts == entry.planned,
            f"{len(counts)} classes",
        ),
    ]


def _check_plan_hashes(run: Run, name: str, entry: Round) -> list[Finding]:
    files = entry.plan_files
    changed = changed_files(run, files, "plan")
    seen = f"{len(files)} files, {len(changed)} changed"
    return [Finding(f"plan {name}: hashes", not changed, seen)]


def _check_samples(run: Run, name: str) -> list[Finding]:
    planned = _ids(run.table("plan", name), "sample_id")
    decoded = _ids(run.table("samples", name), "sample_id")
    return [
        Finding(
            f"samples {name}: every plan row decoded exactly once",
            _same(decoded, planned),
            f"{len(decoded)} of {len(planned)} rows",
        )
    ]


def _check_result(run: Run, manifest: Manifest, result: Result) -> list[Finding]:
    changed = changed_files(run, result.sha256)
    findings = [Finding("result: hashes", not changed, f"{len(changed)} files changed")]
    if changed:
        return findings
    files = [run.at(name) for name in result.sha256]
    table = ds.dataset(files, format="parquet", filesystem=run.fs)
    counts = _result_counts(table, manifest)
    short = manifest.shortfall or {}
    expected: Counter[Any] = Counter()
    if not manifest.is_private:
        expected.update(manifest.class_counts)
    if result.synthetic_labels is not None:
        expected.update(result.synthetic_labels)
    else:
        for label, number in (manifest.targets or {}).items():
            expected[label] += number - short.get(label, 0)
    ids = _ids(table.filter(pc.field("synthetic")), "sample_id")
    return [
        *findings,
        Finding(
            "result: rows per class", Counter(counts) == expected, f"{sum(counts.values())} rows"
        ),
        Finding("result: unique sample ids", len(np.unique(ids)) == len(ids), f"{len(ids)} new"),
    ]


def _ids(table: Any, column: str) -> np.ndarray:
    parts = [b[column].to_numpy(zero_copy_only=False) for b in table.to_batches(columns=[column])]
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)


def _are_among(some: np.ndarray, sorted_: np.ndarray) -> bool:
    place = np.minimum(np.searchsorted(sorted_, some), len(sorted_) - 1)
    return _same(sorted_[place], some)


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    return len(left) == len(right) and bool((left == right).all())


def _result_counts(table: ds.Dataset, manifest: Manifest) -> dict[Any, int]:
    """Number of rows of the result per class, or with each label."""
    names = manifest.config.input
    if not manifest.is_multilabel:
        return _count(table, names.label_column)
    counts: Counter[Any] = Counter()
    for batch in table.to_batches(columns=list(names.label_names)):
        # In csv, 0 and 1 may be strings.
        block = Block(pa.Table.from_batches([batch]), "the result", frozenset(names.label_names))
        counts.update(count_labels(read_label_sets(block, names)))
    return dict(counts)


def _count(table: Any, column: str) -> dict[Any, int]:
    counts: Counter[Any] = Counter()
    for batch in table.to_batches(columns=[column]):
        counts.update(count_labels(batch[column]))
    return dict(counts)
