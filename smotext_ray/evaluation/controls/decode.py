"""Controls decoded by the LLM: the run's points, each with one thing changed.

``shuffled``: points are permuted, across classes. ``lam_0``: the source's own embedding.
``class_mean``: every point at the mean of its class's points, which keeps the LLM, LoRA layers and
gate but gives no text its own point. ``label_only``: no vector; the plain LLM is prompted with the
class name. ``parents_as_text``: no vector; the plain LLM is shown the parents' texts and asked for
another.
Tables are in ``RUN/controls/<name>`` and are reused once complete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from smotext_ray.config.choices import ControlName
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.evaluation.controls.plans import write_plan
from smotext_ray.evaluation.controls.prompts import PromptActor
from smotext_ray.evaluation.inputs import parent_rows, row_numbers
from smotext_ray.evaluation.rows import Rows
from smotext_ray.pipeline.complete import complete_decode
from smotext_ray.pipeline.executor import Executor
from smotext_ray.pipeline.jobs import DecodeJob
from smotext_ray.pipeline.on_ray import ON_RAY
from smotext_ray.run.bridge import with_own_bridge
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import BegunControl, DecodedControl, Round
from smotext_ray.run.lease import hold
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.release import has_release
from smotext_ray.run.samples import accepted_unique, summarize_samples

NAMES: tuple[ControlName, ...] = get_args(ControlName)


@dataclass(frozen=True, eq=False)
class Control:
    """The texts of a control.

    Attributes
    ----------
    rows : Rows
        At most as many rows per class as the run itself accepted.
    parents : ndarray of int64, shape (rows, p), or None
        Corpus rows, sorted by id: source and neighbors of each text's point, as in `parent_rows`.
        None if the control has no points.
    asked : int
        Number of points decoded.
    accepted : int
        Number of texts that passed the gate, before ``rows`` was cut to the run's counts.
    tokens : int
        Number of tokens that the LLM generated for all candidates.
    """

    rows: Rows
    parents: np.ndarray | None
    asked: int
    accepted: int
    tokens: int = 0

    def take(self, indices: Sequence[int] | np.ndarray) -> Control:
        """The control with only the rows at ``indices``."""
        parents = None if self.parents is None else self.parents[indices]
        return replace(self, rows=self.rows.take(indices), parents=parents)


def decode_controls(
    run: Run,
    config: RunConfig,
    encode: Callable[[list[str]], np.ndarray],
    names: Sequence[ControlName] = NAMES,
    log: Callable[[str], Any] = print,
    executor: Executor = ON_RAY,
) -> dict[str, Control]:
    """Decode every planned point of a run again, once for each control.

    Points, candidates, tokens and seeds are the run's. So is the gate, with these differences:
    ``shuffled`` has no class check, which would select vectors that happened to land in their own
    class. ``label_only`` has no checks that need a point or parents, and keeps the first candidate
    that passes. ``parents_as_text`` is judged like the run's own texts, by the point and for copies
    of its parents.

    Parameters
    ----------
    run : Run
    config : RunConfig
        The run's settings.
    encode : callable
        Maps texts to embeddings with the run's encoder. Called after all decoding, so that an
        encoder loaded on its first call never competes with the decoders for memory.
    names : sequence of {"shuffled", "lam_0", "class_mean", "label_only", "parents_as_text"}
    log : callable
        Called with one line per control.
    executor : Executor

    Returns
    -------
    dict of str to Control
        Without ``shuffled`` if all points are of one class, as it would change nothing; without
        ``parents_as_text`` if the run was not allowed to keep its texts.

    Raises
    ------
    UserError
        If no round of the run is decoded, or another process is working on the run.
    """
    manifest = Manifest.read(run)
    rounds = [entry for entry in manifest.rounds if entry.decode is not None]
    if not rounds:
        raise UserError(f"The run {run.uri} has no texts yet; run smotext augment first.")
    labels = list(
        {label: None for entry in rounds for label, number in entry.planned.items() if number}
    )
    done: dict[str, DecodedControl] = {}
    for name in names:
        if name == "parents_as_text" and manifest.is_private:
            log("control parents_as_text: skipped, the run has not kept the texts of its corpus")
            continue
        if name == "shuffled" and len(labels) < 2:
            log("control shuffled: skipped, all points are of one class")
            continue
        with hold(run, "evaluate"):
            noted = decoded_control(run, config, name, rounds, labels, executor)
        number = sum(noted.accepted.values())
        log(f"control {name}: {number} of {noted.points} texts accepted")
        done[name] = noted
    return {name: _read(run, name, noted, encode) for name, noted in done.items()}


def first_of_classes(labels: Iterable[str], most: Mapping[str, int]) -> list[int]:
    """Row numbers of the first rows of each class, at most ``most[label]`` of them.

    Examples
    --------
    >>> first_of_classes(["a", "b", "a", "a"], {"a": 2})
    [0, 2]
    """
    seen: Counter[str] = Counter()
    kept = []
    for row, label in enumerate(labels):
        seen[label] += 1
        if seen[label] <= most.get(label, 0):
            kept.append(row)
    return kept


def decoded_control(
    run: Run,
    config: RunConfig,
    name: str,
    rounds: list[Round],
    labels: list[Any],
    executor: Executor,
) -> DecodedControl:
    """Create ``controls/<name>``, unless it already covers all of these rounds."""
    points = sum(entry.points for entry in rounds)
    manifest = Manifest.read(run)
    noted = (manifest.controls or {}).get(name)
    if noted is None or noted.points != points:
        # It covers fewer rounds, so it shuffled a different set of vectors.
        run.clear("controls", name)
        run.clear("checkpoints", f"control-{name}")
        run.clear("checkpoints", f"control-{name}-attempts")
        _note(run, manifest, name, BegunControl(points=points))
    elif isinstance(noted, DecodedControl):
        return noted
    files = sorted(file for entry in rounds for file in entry.plan_files)
    write_plan(run, name, files, config.plan.seed)
    job = DecodeJob(
        name=f"control-{name}",
        stage=f"decode control {name}",
        plan=f"controls/{name}/plan",
        directory=f"controls/{name}/samples",
        rows=points,
        labels=manifest.labels,
        actor=executor.actors.decode,
    )
    if name in ("label_only", "parents_as_text"):
        prompts = {"labels": labels, "of_parents": name == "parents_as_text"}
        job = replace(job, actor=PromptActor, arguments=prompts)
    own = with_own_bridge(config, run, manifest)
    facts = complete_decode(_gated(own, name), run, job, executor)
    samples = run.table("controls", name, "samples")
    (texts,) = accepted_unique([samples])
    decoded = DecodedControl(
        points=points, **dict(facts), **dict(summarize_samples(texts, samples))
    )
    _note(run, manifest, name, decoded)
    return decoded


def _gated(config: RunConfig, name: str) -> RunConfig:
    changes: dict[str, dict[str, Any]] = {
        "shuffled": {"same_class": False},
        "lam_0": {},
        "class_mean": {},
        "label_only": {"min_cosine": -1.0},  # there is no point to compare with
        "parents_as_text": {},
    }
    gate = config.gate.model_copy(update=changes[name])
    return config.model_copy(update={"gate": gate})


def _note(run: Run, manifest: Manifest, name: str, facts: BegunControl | DecodedControl) -> None:
    manifest.controls = (manifest.controls or {}) | {name: facts}
    manifest.save(run)


def _read(
    run: Run, name: str, noted: DecodedControl, encode: Callable[[list[str]], np.ndarray]
) -> Control:
    (texts,) = accepted_unique([run.table("controls", name, "samples")])
    labels = [str(label) for label in texts["label"].to_pylist()]
    most = {str(label): number for label, number in Manifest.read(run).accepted().items()}
    kept = texts.take(first_of_classes(labels, most))
    words = kept["text"].to_pylist()
    return Control(
        Rows(words, encode(words), [str(label) for label in kept["label"].to_pylist()]),
        None if name in ("class_mean", "label_only") else parents_of(run, kept),
        asked=noted.points,
        accepted=len(texts),
        tokens=noted.tokens,
    )


def parents_of(run: Run, samples: Any) -> np.ndarray:
    """The parents of samples as numbers of corpus rows; see `inputs.parent_rows`."""
    if has_release(run):  # its points do not come from rows of the corpus
        return np.empty((len(samples), 0), np.int64)
    return parent_rows(samples, row_numbers(run))
