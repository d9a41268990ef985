"""A finished run of a tiny corpus, made without Ray, models or an engine.

The stages' own functions write the tables; what the models would say is made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fake_stages import DIM, MODELS

from smotext_ray.config.schema import RunConfig
from smotext_ray.corpus.staging import stage_corpus
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.pipeline.plan_files import PlanWriter, group_item
from smotext_ray.plan.shards import shards
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import Decoded, InputFacts, Round, StageFacts
from smotext_ray.run.opening import new_manifest
from smotext_ray.run.reference import build_reference
from smotext_ray.run.result import write_input_schema, write_result
from smotext_ray.run.samples import summarize_round
from smotext_ray.tables import fixed_size_list


def corpus_table(grain: int = 4, ship: int = 6, label_of: Mapping[str, Any] | None = None):
    """Rows of two classes by turns; the columns are not called as the stages call them."""
    names = ["grain", "ship"] * min(grain, ship)
    names += ["grain"] * (grain - ship) + ["ship"] * (ship - grain)
    return pa.table(
        {
            "page": pa.array(np.arange(len(names)), pa.int16()),
            "topic": [(label_of or {}).get(name, name) for name in names],
            "body": [f"text {i} on {name}" for i, name in enumerate(names)],
        }
    )


def config_for(path: Path, **sections: dict[str, Any]) -> RunConfig:
    given = {"path": str(path), "text_column": "body", "label_column": "topic"}
    return RunConfig.model_validate({**sections, "input": given | sections.get("input", {})})


def changed(config: RunConfig, **sections: dict[str, Any]) -> RunConfig:
    """The settings with some of them replaced."""
    content = config.model_dump()
    for name, values in sections.items():
        content[name] |= values
    return RunConfig.model_validate(content)


def build(
    directory: Path,
    wanted: Mapping[Any, int],
    *,
    uri: str | None = None,
    rounds: int = 1,
    corpus: pa.Table | None = None,
    rejected: Mapping[int, str] | None = None,
    errors: Iterable[int] = (),
    text_of: Callable[[int, Any], str] = lambda i, label: f"new text {i} on {label}",
    until: str = "result",
    rows_per_file: int = 4,
    plan: Mapping[str, Any] | None = None,
) -> Run:
    """Write a run and its input under ``directory``.

    Parameters
    ----------
    directory : Path
    wanted : mapping of label to int
        New texts asked for; each round plans that many.
    uri : str, optional
        Of the run, if it is not to be ``directory / "run"``.
    rejected : mapping of int to str
        Sample ids and the reasons to reject them; the others are accepted.
    errors : iterable of int
        Sample ids of which the decoder made nothing.
    until : {"embed", "plan", "decode", "result"}
        The last stage to be done.
    plan : mapping, optional
        Settings of that section.
    """
    directory.mkdir(parents=True, exist_ok=True)
    source = directory / "corpus.parquet"
    pq.write_table(corpus_table() if corpus is None else corpus, source)
    config = config_for(source, plan=dict(plan or {}))
    run = Run(uri or str(directory / "run"))
    survey = survey_corpus(config.input)
    facts = InputFacts(
        rows=survey.rows, class_counts=survey.class_counts, columns=survey.schema.names
    )
    manifest = new_manifest(config, MODELS, "2026-01-01", facts)
    stage_corpus(config.input, survey, run.fs, run.make("corpus"), rows_per_file=rows_per_file)
    write_input_schema(run, survey)
    write_embeddings(run)
    build_reference(run, list(survey.class_counts))
    manifest.stages = {
        "corpus": StageFacts(rows=survey.rows, seconds=0.5),
        "embed": StageFacts(rows=survey.rows, seconds=2.0, actors=1),
        "reference": StageFacts(seconds=0.1),
    }
    if until != "embed":
        manifest.targets, manifest.warnings = dict(wanted), []
        for number in range(1, rounds + 1):
            entry = planned_round(run, config, number, wanted)
            manifest.rounds.append(entry)
            if until != "plan":
                write_samples(run, number, rejected or {}, set(errors), text_of)
                outcome = summarize_round(run, manifest.round_numbers)
                entry.decode = Decoded(seconds=4.0, tokens=400, actors=1, **dict(outcome))
    if until == "result":
        got = manifest.accepted()
        short = {label: number - got.get(label, 0) for label, number in wanted.items()}
        manifest.shortfall = {label: number for label, number in short.items() if number > 0}
        manifest.result = write_result(run, manifest, dict(wanted))
        manifest.stages["result"] = StageFacts(seconds=0.2)
    manifest.save(run)
    return run


def write_embeddings(run: Run) -> None:
    """One file a corpus file; unit vectors that depend on nothing but the row's place."""
    run.make("embeddings")
    rng = np.random.default_rng(0)
    for number, path in enumerate(sorted(run.table("corpus").files)):
        with run.fs.open_input_file(path) as stream:
            table = pq.read_table(stream, columns=["id", "text", "label"])
        x = rng.normal(size=(len(table), DIM))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        table = table.append_column("embedding", fixed_size_list(x))
        pq.write_table(table, run.at("embeddings", f"{number}.parquet"), filesystem=run.fs)


def planned_round(run: Run, config: RunConfig, round_: int, wanted: Mapping[Any, int]) -> Round:
    first = sum(wanted.values()) * (round_ - 1)
    groups = shards(wanted, round_, first, points_per_shard=5)
    items = [group_item(round_, i, group) for i, group in enumerate(groups)]
    files = {item["file"]: PlanWriter(run, config)(**item)[0] for item in items}
    run.seal([Path(file).name for file in files], "plan", f"round-{round_}")
    return Round(round=round_, planned=dict(wanted), plan_seconds=0.5, plan_files=files)


def write_samples(
    run: Run,
    round_: int,
    rejected: Mapping[int, str],
    errors: set[int],
    text_of: Callable[[int, Any], str],
) -> None:
    plan = run.table("plan", f"round-{round_}").to_table().drop_columns(["point"])
    texts = {"source_text", "neighbor_text", "other_neighbor_texts"} & {*plan.column_names}
    plan = plan.drop_columns(sorted(texts))
    ids, labels = plan["sample_id"].to_pylist(), plan["label"].to_pylist()
    status = ["error" if i in errors else "rejected" if i in rejected else "accepted" for i in ids]
    told = {
        "text": pa.array(
            [None if i in errors else text_of(i, k) for i, k in zip(ids, labels, strict=True)],
            pa.string(),
        ),
        "finish_reason": pa.array(["stop"] * len(ids)),
        "num_tokens": pa.array([10] * len(ids), pa.int32()),
        "cosine_to_point": pa.array(
            [None if i in errors else 0.5 + i / 1000 for i in ids], pa.float32()
        ),
        "predicted_label": plan["label"],
        "status": pa.array(status),
        "reason": pa.array(["no engine" if i in errors else rejected.get(i, "") for i in ids]),
    }
    for name, column in told.items():
        plan = plan.append_column(name, column)
    directory = run.make("samples", f"round-{round_}")
    half = len(plan) // 2  # of two files, the first ids in the second
    for number, part in enumerate((plan.slice(half), plan.slice(0, half))):
        pq.write_table(part, f"{directory}/{number}.parquet", filesystem=run.fs)
