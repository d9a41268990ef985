"""Actors that run inside Ray: each loads its models once, then maps tables to tables.

Models and heavy libraries are imported in the constructors, so that scheduling the actors does not
load them.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smotext_ray.cluster.gpus import loading_alone
from smotext_ray.cluster.progress import FIRST_TEXTS
from smotext_ray.config.schema import RunConfig
from smotext_ray.models.load import check_models, load_decoder, load_encoder
from smotext_ray.pipeline.adapt import adapt_bridge
from smotext_ray.plan.parents import lengths_at_points, main_parents
from smotext_ray.tables import candidates_schema, fixed_size_list, matrix

if TYPE_CHECKING:
    from smotext_ray.models.engine import Candidates
    from smotext_ray.plan.neighbors import Nearest
    from smotext_ray.privacy.clipper import Clipper


ENCODE_CHUNK = 512  # rows


class EncodeActor:
    """Adds ``embedding`` to ``id, text, label``; with epsilon, clipped and without texts.

    The last bits of an embedding depend on which texts share a batch. So rows are batched in the
    same chunks for any number of blocks and actors: files contain whole chunks, and a block is a
    file. A text that occurs several times in a chunk is embedded once. With epsilon, each text is a
    batch of its own, because no record may affect the embedding of another.
    """

    def __init__(self, config: RunConfig, counter: Any) -> None:
        counter.phase.remote("loading the encoder")
        self.encoder = self.load_encoder(config)
        self.batch_size = config.encoder.batch_size
        self.counter = counter
        self.clipper: Clipper | None = None
        if config.privacy.epsilon is not None:
            from smotext_ray.privacy.clipper import Clipper

            self.clipper = Clipper(config.privacy)

    def load_encoder(self, config: RunConfig) -> Any:
        return load_encoder(config)

    def __call__(self, table: pa.Table) -> pa.Table:
        parts = []
        for start in range(0, len(table), ENCODE_CHUNK):
            texts = table["text"].slice(start, ENCODE_CHUNK).to_pylist()
            parts.append(self._encoded(texts))
            self.counter.add.remote(len(texts), first=table["id"][start].as_py())
        embeddings = np.concatenate(parts or [np.empty((0, self.encoder.dim), np.float32)])
        if self.clipper is not None:
            return self.clipper(table, embeddings)
        return table.append_column("embedding", fixed_size_list(embeddings))

    def _encoded(self, texts: list[str]) -> np.ndarray:
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        if self.clipper is None:
            embeddings = self.encoder.encode(list(distinct), self.batch_size)
        else:
            embeddings = np.concatenate([self.encoder.encode([text], 1) for text in distinct])
        return np.asarray(embeddings[[distinct[text] for text in texts]])


class DecodeActor:
    """Adds the candidate texts of each point to plan rows.

    ``points`` is the expected number of points for this decoder.
    """

    def __init__(self, config: RunConfig, counter: Any, points: int) -> None:
        counter.phase.remote("loading the LLM")
        with loading_alone():
            self.decoder = self.load_decoder(config, points)
        self.counter = counter

    def load_decoder(self, config: RunConfig, points: int) -> Any:
        each = config.resources.decoders_per_gpu
        return load_decoder(config, expected_texts=points, engines_per_gpu=each)

    def __call__(self, table: pa.Table) -> pa.Table:
        return decode_rows(table, lambda: decode_points(table, self.decoder), self.counter)


class GateActor:
    """Turns each row of candidate texts into a sample, accepted or rejected with a reason."""

    has_shown = False  # whether its first accepted texts were logged

    def __init__(
        self,
        config: RunConfig,
        run_uri: str,
        labels: list[Any],
        label_type: pa.DataType,
        counter: Any,
    ) -> None:
        from smotext_ray.gate.cleaning import cleaning_of
        from smotext_ray.gate.gate import Gate
        from smotext_ray.run.directory import Run
        from smotext_ray.run.reference import load_reference

        run = Run(run_uri)
        reference = load_reference(run)
        cleaning = cleaning_of(config, run.table("embeddings"), labels)
        with loading_alone():
            encoder = self.load_encoder(config)
        self.gate: Callable[[pa.Table], pa.Table] = Gate(
            encoder, config, reference, labels, label_type, cleaning
        )
        self.counter = counter

    def load_encoder(self, config: RunConfig) -> Any:
        return load_encoder(config)

    def __call__(self, table: pa.Table) -> pa.Table:
        samples = self.gate(table)
        if len(samples):
            self._count(samples.select(["sample_id", "status", "reason"]).to_pylist())
            if not self.has_shown:
                self._show(samples)
        return samples

    def _show(self, samples: pa.Table) -> None:
        accepted = samples["text"].filter(pc.equal(samples["status"], "accepted"))
        for text in accepted.slice(0, FIRST_TEXTS).to_pylist():
            self.counter.accepted.remote(text)
            self.has_shown = True

    def _count(self, rows: list[dict[str, Any]]) -> None:
        samples: Counter[tuple[str, str]] = Counter()
        for row in rows:
            is_error = row["status"] == "error"  # whose reasons are arbitrary strings
            samples[row["status"], "" if is_error else row["reason"]] += 1
            if is_error:
                facts = {"sample_ids": [row["sample_id"]], "reason": row["reason"]}
                self.counter.log_event.remote("a sample has no text", facts)
        self.counter.add.remote(len(rows), first=rows[0]["sample_id"], samples=samples)


class WeightActor:
    """Writes one file of ``weights/`` per group of shards of texts, atomically."""

    def __init__(
        self,
        config: RunConfig,
        run_uri: str,
        counter: Any,
        counts: dict[Any, int],
        points: dict[Any, int],
    ) -> None:
        from smotext_ray.pipeline.plan_files import WeightWriter
        from smotext_ray.run.directory import Run

        self.write = WeightWriter(Run(run_uri), config, counts, points, self.nearest())
        self.counter = counter

    def nearest(self) -> Nearest | None:
        """A replacement for the plan's search; see `smotext_ray.plan.neighbors.other_texts`."""
        return None

    def __call__(self, group: dict[str, str]) -> dict[str, str]:
        digest, sources = self.write(**group)
        self.counter.add.remote(
            sum(shard["stop"] - shard["start"] for shard in json.loads(group["shards"])),
            first=group["file"],
        )
        found = json.dumps([[label, number] for label, number in sources.items()])
        return {"file": group["file"], "sha256": digest, "sources": found}


class PlanActor:
    """Writes one plan file per group of shards, atomically.

    ``weights`` is the directory of source weights, for a SMOTE variant.
    """

    def __init__(
        self, config: RunConfig, run_uri: str, counter: Any, weights: str | None = None
    ) -> None:
        from smotext_ray.pipeline.plan_files import PlanWriter
        from smotext_ray.run.directory import Run

        self.write = PlanWriter(Run(run_uri), config, weights, self.nearest())
        self.counter = counter

    def nearest(self) -> Nearest | None:
        """See `WeightActor.nearest`."""
        return None

    def __call__(self, group: dict[str, str]) -> dict[str, str]:
        digest, rows = self.write(**group)
        self.counter.add.remote(rows, first=group["file"])
        return {"file": group["file"], "sha256": digest}


@dataclass(frozen=True)
class Actors:
    """The actor classes of the stages; tests may replace any of them.

    Attributes
    ----------
    encode, weigh, plan, decode, gate : class
        Actor classes, called with the arguments of the real ones.
    adapt : callable
        Adapts the bridge; see `smotext_ray.pipeline.adapt.adapt_bridge`.
    check_models : callable
        Maps `RunConfig` to the models for the manifest, before anything is written.
    """

    encode: Any = EncodeActor
    weigh: Any = WeightActor
    plan: Any = PlanActor
    decode: Any = DecodeActor
    gate: Any = GateActor
    check_models: Callable[[RunConfig], dict[str, dict[str, str]]] = check_models
    adapt: Callable[..., dict[str, Any]] = adapt_bridge


REAL = Actors()


def decode_points(table: pa.Table, decoder: Any) -> list[Candidates]:
    """Decode points; with the other columns of a plan, to texts that look like their parents."""
    points, seeds = matrix(table["point"]), table["seed"].to_pylist()
    if "source_text" not in table.column_names or not getattr(decoder, "follows_parents", False):
        return list(decoder.decode(points, seeds))
    lengths = lengths_at_points(table, decoder.count_tokens)
    return list(decoder.decode(points, seeds, lengths, main_parents(table)))


def decode_rows(table: pa.Table, decode: Callable[[], list[Candidates]], counter: Any) -> pa.Table:
    """Add the candidates from ``decode`` to the table, one per row, and count their tokens."""
    from smotext_ray.models.engine_loop import EngineDead

    try:
        decoded = decode()
    except EngineDead:
        # An exception would be raised again by every retry on this dead engine and then abort the
        # job; Ray restarts a process that exits.
        facts = {"sample_ids": table["sample_id"].to_pylist()}
        try:
            say_last(counter, "the engine died, and these are decoded again", facts)
        finally:
            os._exit(1)
    counter.add.remote(0, sum(sum(c.num_tokens) for c in decoded))
    return with_candidates(table, decoded)


def with_candidates(table: pa.Table, decoded: list[Candidates]) -> pa.Table:
    """Plan rows with the engine's results, in columns that the gate reads."""
    columns = {
        "texts": [c.texts for c in decoded],
        "finish_reasons": [c.finish_reasons for c in decoded],
        "tokens": [c.num_tokens for c in decoded],
        "error": [c.error for c in decoded],
    }
    for field in candidates_schema():
        table = table.append_column(field, pa.array(columns[field.name], field.type))
    return table


def say_last(counter: Any, message: str, facts: dict[str, Any]) -> None:
    """Have the driver log a message before this process exits."""
    import ray

    ray.wait([counter.log_event.remote(message, facts)], timeout=5)
