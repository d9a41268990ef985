"""One step of a training: batches of its texts, the gradient of all workers, the learning rate."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from smotext_ray.models.bridge import Bridge
from smotext_ray.training.config import TrainConfig
from smotext_ray.training.data import padded
from smotext_ray.training.embeddings import Embeddings, GivenEmbeddings
from smotext_ray.training.objectives import Paraphrase, Tuning
from smotext_ray.training.preferences import PreferenceLoss
from smotext_ray.training.workers import Workers

if TYPE_CHECKING:
    from smotext_ray.training.state import State

Objective = Paraphrase | Tuning | PreferenceLoss

# A second moment over about 50 steps: a training has few steps with many tokens each, and the
# gradient's magnitude changes within the first few hundred.
BETAS = (0.9, 0.98)
# Gradients are clipped at this multiple of the running mean of their norm. The norm depends on the
# tokens per step, the stage and the progress of training: a fixed limit of 1 clipped every step of
# 400 tokens (norms 1.1 to 2.4), so it only scaled the learning rate.
CLIP = 2.0
# Relative to the projector's rate. The styles' rows are sums of few inputs, starting from zero, so
# they have farther to go.
STYLE_RATE = 30.0
NORM_MEMORY = 0.95


def take_step(
    state: State,
    batches: Sequence[np.ndarray],
    fraction: float,
    objective: Objective,
    bridge: Bridge,
    embeddings: Embeddings | GivenEmbeddings,
    workers: Workers,
) -> dict[str, float]:
    """Take the next step of a training, and count it in ``state``.

    Parameters
    ----------
    state : State
    batches : sequence of ndarrays
        The step's rows of the objective, from `micro_batches`.
    fraction : float
        The learning rates, as a fraction of their peaks.
    objective : Paraphrase, Tuning or PreferenceLoss
    bridge : Bridge
        The bridge that ``state`` trains.
    embeddings : Embeddings or GivenEmbeddings
        Embeddings of the objective's texts.
    workers : Workers
        Each computes its share of the batches.

    Returns
    -------
    dict
        ``loss``, ``gradient_norm``, ``tokens``, ``padding`` and ``tokens_per_second``.
    """
    started, positions = time.monotonic(), objective.positions
    for group in state.optimizer.param_groups:
        group["lr"] = group["peak"] * fraction
    costs = [padded(batch, positions) for batch in batches]
    mine = workers.share(batches, costs)
    embeddings.prepare(np.concatenate([np.empty(0, np.int64), *mine]))
    losses = (objective.loss(bridge, objective.batch(batch, embeddings[batch])) for batch in mine)
    limit = CLIP * state.typical_norm or float("inf")
    loss, norm = gradient_step(state.optimizer, losses, workers, limit)
    state.typical_norm = _running_mean(state.typical_norm, min(norm, limit))
    state.average.update(state.step - (state.decay[0] if state.decay else 0))
    state.step += 1
    rows = np.concatenate(batches)
    tokens = int(objective.tokens[rows].sum())
    return {
        "loss": loss,
        "gradient_norm": norm,
        "tokens": tokens,
        "padding": 1 - positions[rows].sum() / sum(costs),
        "tokens_per_second": tokens / (time.monotonic() - started),
    }


def gradient_step(
    optimizer: torch.optim.Optimizer,
    batches: Iterable[torch.Tensor],
    workers: Workers,
    limit: float = float("inf"),
) -> tuple[float, float]:
    """Take one optimizer step on this process's batches, together with all workers.

    Parameters
    ----------
    optimizer : Optimizer
    batches : iterable of Tensors of shape (tokens,)
        The loss of each token, or of each preference; each batch is computed after the previous
        backward pass. Empty if there are fewer batches than workers.
    workers : Workers
    limit : float
        The gradient is clipped to this norm.

    Returns
    -------
    loss : float
        Mean, over all workers.
    norm : float
        Norm of the gradient before clipping.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    seen = torch.zeros(2, device=weights[0].device)  # sum and number of losses
    for loss in batches:
        loss.sum().backward()
        seen += torch.stack([loss.detach().sum(), seen.new_tensor(len(loss))])
    # Once per step, and not with DistributedDataParallel: that averages over workers, but the loss
    # is a mean over tokens, and workers have different numbers of them. Also, most trainable
    # weights (the projector) get their gradients last in a backward pass, so there is little to
    # overlap communication with.
    gradients = [weight.grad for weight in weights]
    workers.add_up(seen, *gradients)
    total, count = seen.tolist()
    for gradient in gradients:
        gradient /= count
    norm = torch.nn.utils.clip_grad_norm_(weights, limit)
    optimizer.step()
    return total / count, float(norm)


def new_optimizer(learned: nn.ModuleDict, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW with separate learning rates for the projector, the LoRA layers and the styles.

    Each group is named by its setting in `TrainConfig`, if it has one.
    """
    rate, of_lora = config.learning_rate, config.lora_learning_rate
    of_bridge = dict(learned["bridge"].named_parameters())
    style = of_bridge.pop("style", None)
    parts = {
        "learning_rate": (list(of_bridge.values()), rate),
        "lora_learning_rate": (
            list(learned["adapter"].parameters()),
            rate if of_lora is None else of_lora,
        ),
        "style": ([] if style is None else [style], rate * STYLE_RATE),
    }
    groups: list[dict[str, Any]] = [
        {"params": weights, "lr": peak, "peak": peak, "name": name}
        for name, (weights, peak) in parts.items()
        if weights
    ]
    on_gpu = groups[0]["params"][0].device.type == "cuda"
    return torch.optim.AdamW(groups, betas=BETAS, weight_decay=0.0, fused=on_gpu)


def rate_fraction(step: int, warmup_steps: int, decay: Sequence[int] = ()) -> float:
    """The learning rate of a step, as a fraction of its peak (warm-up, stable, decay).

    Linear warm-up, then constant; in a decay that starts at step ``decay[0]`` and takes
    ``decay[1]`` steps, one minus the square root of its progress (Haegele et al., 2024,
    arXiv:2405.18392).
    """
    if decay:
        return 1 - ((step - decay[0]) / decay[1]) ** 0.5
    return min(1.0, (step + 1) / max(1, warmup_steps))


def _running_mean(before: float, now: float) -> float:
    return NORM_MEMORY * before + (1 - NORM_MEMORY) * now if before else now
