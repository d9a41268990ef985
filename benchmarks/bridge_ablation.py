"""What each choice in a bridge buys: short trainings that differ in one thing, measured alike.

    python benchmarks/bridge_ablation.py --input bridge_corpus.parquet --output runs/ablation

Each variant is trained in a process of its own on the same texts in the same order, then
measured on held-out texts of the corpus as `smotext bridge eval` does. A variant that is
there already is not trained again. `--from BRIDGE` starts the variants that do not change
the bridge's shape from that bridge; the others always start from random weights, and so
does their own baseline.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Variant:
    """One thing changed.

    Attributes
    ----------
    change : dict
        Of the training's settings.
    continues : bool
        Starts from the bridge of ``--from``, where there is one.
    points : str
        What the LLM is to say a text from: its own embedding, a "noised" one, or a "mixed" one,
        toward the embedding of a neighbor.
    tune : bool
        Stage 2 on tasks made from the same texts.
    """

    change: dict[str, Any] = field(default_factory=dict)
    continues: bool = False
    points: str = "own"
    tune: bool = False


VARIANTS = {
    "new, K = 8": Variant(),
    "new, K = 1 (xRAG)": Variant({"soft_tokens": 1}),
    "new, K = 16": Variant({"soft_tokens": 16}),
    "new, output scale 1 std": Variant({"scale_of_table": 1.0}),
    "new, output scale not matched": Variant({"scale_of_table": None}),  # the scale starts at 1
    "going on": Variant(continues=True),
    "going on, LoRA rank 8": Variant({"lora_rank": 8}, continues=True),
    "going on, noised": Variant(continues=True, points="noised"),
    "going on, mixed": Variant(continues=True, points="mixed"),
    "going on, stage 2": Variant({"stage": 2, "learning_rate": 1e-4}, continues=True, tune=True),
}
NOISE = 0.5  # largest length of the noise, of an embedding's
MOST_MIXED = 0.5  # maximum share of the way to the neighbor
NEIGHBORS = 5
TEXTS_PER_STEP = 32
TOKENS_PER_STEP = 1000  # approximate


def main() -> None:
    options = _options()
    if options.variant:
        run(options.variant, options)
        return
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.only or VARIANTS:
        if not _result(options.output, name).exists():
            subprocess.run([sys.executable, *sys.argv, "--variant", name], check=True)
    show(options.output)


def run(name: str, options: argparse.Namespace) -> None:
    """Train and measure one variant."""
    from smotext_ray.config.load import load_config
    from smotext_ray.corpus.texts import read_texts
    from smotext_ray.training import config as config_module
    from smotext_ray.training import train as training
    from smotext_ray.training.data import split_held_out
    from smotext_ray.training.evaluate import evaluate_bridge

    variant, texts = VARIANTS[name], read_texts(options.input, "text")
    config = config_module.TrainConfig(
        steps=options.steps,
        held_out=options.rows,
        eval_every=options.steps,
        tokens_per_step=TOKENS_PER_STEP,
        start_from=options.start_from if variant.continues else None,
        **_resolved(variant.change),
    )
    directory = options.output / _file_name(name)
    corpus = _tasks(texts, options) if variant.tune else texts
    if variant.points != "own":
        training._objective = partial(_objective, points=variant.points, cache=options.output)
    training.train(corpus, config, directory, cache=options.output)
    held_out, _ = split_held_out(len(texts), config.held_out, config.seed)
    some = [texts[row] for row in held_out]
    run_config = load_config("offline", None, [], {"bridge.path": str(directory)})
    found = evaluate_bridge(some, None, run_config).as_json()
    _result(options.output, name).write_text(json.dumps(found, indent=2) + "\n")


def _resolved(change: dict[str, Any]) -> dict[str, Any]:
    if change.get("scale_of_table", 0) is not None:
        return change
    from transformers import AutoModelForCausalLM

    from smotext_ray.models.files import locate_model
    from smotext_ray.training.config import TrainConfig

    llm = AutoModelForCausalLM.from_pretrained(locate_model(TrainConfig().llm).path)
    return change | {"scale_of_table": 1 / llm.get_input_embeddings().weight.std().item()}


def _tasks(texts: list[str], options: argparse.Namespace) -> list[Any]:
    from smotext_ray.training.config import TrainConfig
    from smotext_ray.training.data import split_held_out
    from smotext_ray.training.frozen import FrozenModels
    from smotext_ray.training.tasks import make_tasks, read_tasks, write_tasks

    file = options.output / "tasks.parquet"
    if not file.exists():
        config = TrainConfig(held_out=options.rows)
        _, others = split_held_out(len(texts), config.held_out, config.seed)
        rows = 2 * options.steps * TEXTS_PER_STEP + config.held_out
        made = make_tasks([texts[row] for row in others], FrozenModels(config), rows, config.seed)
        write_tasks(made, file)
    return read_tasks(str(file))


def _objective(texts: list[str], frozen: Any, _: Path, *, points: str, cache: Path) -> Any:
    """Stage 1, except for the points that the LLM is to say the texts from."""
    from smotext_ray.training.embeddings import Embeddings
    from smotext_ray.training.objectives import Paraphrase

    paraphrase = Paraphrase(frozen, texts)
    plain = paraphrase.batch
    everything = None
    if points == "mixed":
        everything = Embeddings(texts, frozen, cache)[np.arange(len(texts))]

    def batch(rows: np.ndarray, embeddings: np.ndarray) -> Any:
        import torch

        if not torch.is_grad_enabled():  # held out
            return plain(rows, embeddings)
        rng = np.random.default_rng(rows)
        share = rng.random((len(rows), 1), np.float32)
        if everything is None:
            noise = rng.standard_normal(embeddings.shape, np.float32)
            noise *= NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
            moved = embeddings + share * noise
        else:
            cosines = embeddings @ everything.T
            cosines[np.arange(len(rows)), rows] = -1
            near = np.argpartition(-cosines, NEIGHBORS)[:, :NEIGHBORS]
            other = everything[near[np.arange(len(rows)), rng.integers(NEIGHBORS, size=len(rows))]]
            moved = embeddings + MOST_MIXED * share * (other - embeddings)
        return plain(rows, moved / np.linalg.norm(moved, axis=1, keepdims=True))

    paraphrase.batch = batch  # type: ignore[method-assign]
    return paraphrase


def show(output: Path) -> None:
    """Print the table, as Markdown."""
    print("| variant | matched | shuffled | cosine | best of 4 | source first | lam 0.5 |")
    print("|---|---|---|---|---|---|---|")
    for name in VARIANTS:
        file = _result(output, name)
        if file.exists():
            f = json.loads(file.read_text())
            print(
                f"| {name} | {f['nll_matched']:.2f} | {f['nll_shuffled']:.2f} | "
                f"{f['cosine_greedy']:.3f} | {f['cosine_best_of_4']:.3f} | "
                f"{f['retrieval_at_1']:.0%} | {f['interpolated']['0.5']:.3f} |"
            )


def _result(output: Path, name: str) -> Path:
    return output / f"{_file_name(name)}.json"


def _file_name(name: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in name).split())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", required=True, help="texts, as for smotext train-bridge")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--from", dest="start_from", help="bridge that variants continue from")
    parser.add_argument("--steps", type=int, default=100, help="of some 32 texts (default 100)")
    parser.add_argument("--rows", type=int, default=128, help="held-out texts (default 128)")
    parser.add_argument("--only", nargs="+", choices=VARIANTS)
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
