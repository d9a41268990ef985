"""``smotext`` with an encoder and a decoder that load nothing, for tests that kill processes.

The tests and the actors meet in the directory ``FAKE_STAGES``:

    encoder.jsonl, planner.jsonl, adapter.jsonl, decoder.jsonl, gate.jsonl
                     a line a call, written before the work
    poison           sample ids that end the process of the decoder
    hungry           sample ids that the decoder takes ever more memory for
    faults/<fault>   files; each is good for one fault
    seconds          that a call takes
    seconds-<actor>  that a call of one actor takes
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from smotext_ray.models.engine import Candidates
from smotext_ray.models.engine_loop import EngineDead
from smotext_ray.pipeline import actors

# Each process of an actor imports this file: nothing of pandas, and no file that needs it.
DIM = 6  # of an embedding
HERE = "FAKE_STAGES"
MODELS = {name: {"name": name, "sha256": "0"} for name in ("encoder", "llm", "bridge")}
CONSTRUCTOR_FAILS, ENGINE_DIES = "constructor-fails", "engine-dies"
HUNGER = 1536  # MiB that a hungry decoder takes at most


def main(arguments: list[str]) -> int:
    """The command line, on these."""
    from smotext_ray.cli import main as cli_main
    from smotext_ray.pipeline.on_ray import OnRay

    return cli_main.main(arguments, OnRay(FAKES))


class Encoder:
    """A vector a text, of the text's letters alone."""

    dim = DIM

    def encode(self, texts: list[str], batch_size: int = 0) -> np.ndarray:
        rows = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=DIM) for text in texts]
        return np.array(rows, np.float32).reshape(len(texts), DIM)


class Encode(actors.EncodeActor):
    def load_encoder(self, config: Any) -> Encoder:
        return Encoder()

    def __call__(self, table: Any) -> Any:
        work("encoder", table["id"].to_pylist())
        return super().__call__(table)


class Plan(actors.PlanActor):
    def __call__(self, group: dict[str, str]) -> dict[str, str]:
        work("planner", [group["file"]])
        return super().__call__(group)


class Gate(actors.GateActor):
    def load_encoder(self, config: Any) -> Encoder:
        return Encoder()

    def __call__(self, table: Any) -> Any:
        note("gate", table["sample_id"].to_pylist())
        return super().__call__(table)


class Decode:
    """A text a point, of its sample id."""

    def __init__(self, config: Any, counter: Any, points: int) -> None:
        if happens(CONSTRUCTOR_FAILS):
            raise MemoryError("no room for the model on the GPU")
        self.counter = counter

    def __call__(self, table: Any) -> Any:
        ids = table["sample_id"].to_pylist()
        work("decoder", ids)
        if is_among("poison", ids):
            os.kill(os.getpid(), signal.SIGKILL)
        if is_among("hungry", ids):
            eat()
        return actors.decode_rows(table, lambda: self.decode(ids), self.counter)

    def decode(self, ids: list[int]) -> list[Candidates]:
        if happens(ENGINE_DIES):
            raise EngineDead("gone")
        return [Candidates([f"sample{i} is new"], ["stop"], [3]) for i in ids]


def adapt(config: Any, run_uri: str, counter: Any) -> dict[str, Any]:
    """A bridge of a few bytes."""
    from smotext_ray.run.bridge import store_bridge
    from smotext_ray.run.directory import Run

    work("adapter", [0])
    with tempfile.TemporaryDirectory() as made:
        Path(made, "config.json").write_text("{}")
        Path(made, "bridge.safetensors").write_bytes(b"adapted")
        files = store_bridge(Run(run_uri), Path(made))
    facts = {"texts": 9, "held_out": 2, "replayed": 3, "steps": 4}
    return facts | {"cosine_before": 0.5, "cosine_after": 0.625, "files": files}


def no_models(config: Any) -> dict[str, dict[str, str]]:
    return MODELS


FAKES = actors.Actors(
    encode=Encode, plan=Plan, decode=Decode, gate=Gate, check_models=no_models, adapt=adapt
)


def note(actor: str, ids: list[Any]) -> None:
    """Note a call, and what it sees of the machine's GPUs."""
    call = {"pid": os.getpid(), "ids": ids, "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}
    with (directory() / f"{actor}.jsonl").open("a") as log:
        log.write(json.dumps(call) + "\n")


def work(actor: str, ids: list[Any]) -> None:
    """Note a call, then take as long as one does."""
    note(actor, ids)
    own = directory() / f"seconds-{actor}"
    time.sleep(float((own if own.exists() else directory() / "seconds").read_text()))


def is_among(kind: str, ids: list[int]) -> bool:
    """Whether one of these was named to do so."""
    named = directory() / kind
    return named.exists() and not set(ids).isdisjoint(json.loads(named.read_text()))


def eat() -> None:
    """Take memory until Ray ends this process; an error, if it does not."""
    eaten = []
    for _ in range(0, HUNGER, 64):
        eaten.append(b"x" * (64 * 1024**2))
        time.sleep(0.05)
    time.sleep(20)
    raise AssertionError(f"Ray let {len(eaten) * 64} MiB be taken")


def happens(fault: str) -> bool:
    """Use up one fault of this kind, if one was ordered."""
    for file in (directory() / "faults").glob(f"{fault}*"):
        try:
            file.unlink()
        except FileNotFoundError:
            continue  # another process was first
        return True
    return False


def directory() -> Path:
    return Path(os.environ[HERE])
