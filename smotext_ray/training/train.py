"""Train a bridge: both stages of xRAG, and one of preferences, in one plain torch loop.

The LLM reads the soft tokens of a text's embedding and must generate the text, or answer questions
about it. The projector is trained and, optionally, LoRA layers on the LLM (Cheng et al., 2024,
arXiv:2405.13792; the stages are in ``smotext_ray.training.objectives`` and ``preferences``). A
single step and the learning rates are in ``smotext_ray.training.steps``.

It runs in one process, or in each process of a torch process group started by torchrun or
``smotext_ray.training.distributed``. A killed run resumes from its last checkpoint as if nothing
had happened: the texts of a step depend only on the seed and the step.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from smotext_ray.errors import UserError
from smotext_ray.models.bridge import Bridge
from smotext_ray.training.average import Average
from smotext_ray.training.config import COSINE, TrainConfig
from smotext_ray.training.data import (
    Preference,
    Task,
    hash_texts,
    micro_batches,
    pick_evenly,
    split_held_out,
    step_stream,
)
from smotext_ray.training.embeddings import Embeddings, GivenEmbeddings
from smotext_ray.training.frozen import FrozenModels
from smotext_ray.training.held_out import (
    KINDS,
    MATCHED,
    SHUFFLED,
    greedy_cosine,
    held_out_loss,
    length_classes,
)
from smotext_ray.training.objectives import Paraphrase, Tuning
from smotext_ray.training.preferences import PreferenceLoss
from smotext_ray.training.state import (
    State,
    alone_in,
    append_metrics,
    identity,
    keep_metrics,
    save_bridge,
)
from smotext_ray.training.steps import Objective, new_optimizer, rate_fraction, take_step
from smotext_ray.training.workers import Workers

Examples = Sequence[str] | Sequence[Task] | Sequence[Preference]
NONE_LOSS = "held_out_none"


def train(
    texts: Examples,
    config: TrainConfig,
    output: Path,
    *,
    held_out: Examples | None = None,
    compile_llm: bool = False,
    cache: Path | None = None,
    log: Callable[[str], Any] = print,
) -> Bridge:
    """Train a bridge on texts, or resume the training in ``output``.

    Parameters
    ----------
    texts : sequence of str, in stage 2 of Task, in stage 3 of Preference
        Different texts, or a different order, make it a different training.
    config : TrainConfig
    output : Path
        Directory. It holds the bridge (averaged weights) with the lowest held-out loss so far, in
        stage 3 with the highest cosine of greedy texts to held-out points;
        ``training_state.pt`` with the last step, from which training resumes; and
        ``metrics.jsonl`` with one line per step.
    held_out : sequence, optional
        Texts, tasks or preferences to judge by; ``config.held_out`` of them are used, balanced over
        lengths. Default: that many of ``texts`` are held out.
    compile_llm : bool, default=False
        Use ``torch.compile`` for the LLM: takes minutes to start, then steps are faster.
    cache : Path, optional
        Directory for token counts and embeddings of the texts, which trainings on the same texts
        may share. Default: ``output``. It can be deleted after training.
    log : callable, default=print
        Called with each line of progress.

    Returns
    -------
    Bridge
        The bridge in ``output``, ready for use.

    Raises
    ------
    UserError
        If there are too few texts, ``output`` has a training with other settings or texts, or
        another process is training there.
    """
    run_steps(
        texts,
        config,
        output,
        held_out=held_out,
        compile_llm=compile_llm,
        cache=cache,
        log=log,
    )
    return Bridge.from_pretrained(output)


def run_steps(
    texts: Examples,
    config: TrainConfig,
    output: Path,
    *,
    held_out: Examples | None = None,
    compile_llm: bool = False,
    cache: Path | None = None,
    log: Callable[[str], Any] = print,
) -> None:
    """Run the remaining steps of ``train``.

    In a process group every process calls it with the same arguments: each computes its share of a
    step's batches, and the first one writes and logs.
    """
    workers = Workers()
    log = log if workers.is_first else _say_nothing
    rows, everything = _split(texts, held_out, config)
    frozen = FrozenModels(config, compile_llm)
    bridge = frozen.new_bridge(config)
    output.mkdir(parents=True, exist_ok=True)
    cache = cache or output
    learned = nn.ModuleDict({"bridge": bridge, "adapter": frozen.adapter})
    optimizer, average = new_optimizer(learned, config), Average(learned)
    this = identity(config, bridge, _hash(everything))
    if config.stage == 3:
        this["models"]["start_sha256"] = average.sha256()
    objective = _objective(everything, frozen, average, cache)
    held_out_rows, training = _whole(objective, *rows, config, held_out is not None, log)
    state = State(this, learned, average, optimizer, min(config.warmup_steps, config.steps // 10))

    with alone_in(output, workers):
        state.resume(output, config)
        # The constant-rate steps end here, and the decay branches off.
        constant = state.decay[0] if state.decay else max(config.steps, state.step)
        last = constant + config.decay_length
        if state.step == last:
            return
        if workers.is_first:
            keep_metrics(output, state.step or -1)  # before the first step: none
        embeddings = _embeddings(objective, everything, frozen, cache)
        stream = step_stream(
            objective.tokens[training],
            objective.positions[training],
            config.tokens_per_step,
            config.seed,
            state.step,
        )

        def judged() -> dict[str, float]:
            given = embeddings[held_out_rows]
            return _judged(state, bridge, frozen, objective, held_out_rows, given, workers, output)

        if config.stage == 3 and not state.step:  # the start stays unless training helps
            metrics = {"step": 0} | judged()
            if workers.is_first:
                append_metrics(output, metrics)
            log(f"before training: {COSINE} {metrics[COSINE]:.4g}")
        saved = time.monotonic()
        for step in range(state.step, last):
            done = step + 1
            if step == constant:
                state.decay = [constant, config.decay_length]
            fraction = rate_fraction(step, state.warmup_steps, state.decay)
            hands = [training[hand] for hand in next(stream)]
            batches = micro_batches(hands, objective.positions, config.batch_tokens, workers.count)
            metrics = {"step": done, "lr": config.learning_rate * fraction}
            metrics |= take_step(state, batches, fraction, objective, bridge, embeddings, workers)
            judges = done % config.eval_every == 0 or done in (constant, last)
            if judges:
                metrics |= judged()
            if workers.is_first:
                append_metrics(output, metrics)
            late = time.monotonic() - saved >= 60 * config.save_minutes
            if done in (constant, last) or workers.first_says(late, frozen.device):
                # Embeddings and bridge go first: a state never refers to missing files.
                embeddings.flush()
                workers.wait()
                if workers.is_first:
                    state.save(output)
                saved = time.monotonic()
            if done % 10 == 0 or judges:
                log(" ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
        workers.wait()  # until the first process has written everything


def _split(
    texts: Sequence[Any], held_out: Sequence[Any] | None, config: TrainConfig
) -> tuple[tuple[np.ndarray, np.ndarray], list[Any]]:
    """The held-out rows, the training rows, and all texts in one list."""
    if held_out is None:
        return split_held_out(len(texts), config.held_out, config.seed), list(texts)
    everything = [*texts, *held_out]
    return (np.arange(len(texts), len(everything)), np.arange(len(texts))), everything


def _whole(
    objective: Objective,
    held_out: np.ndarray,
    training: np.ndarray,
    config: TrainConfig,
    from_file: bool,
    log: Callable[[str], Any],
) -> tuple[np.ndarray, np.ndarray]:
    """Rows short enough to use without truncation; from a held-out file, only as many as needed."""
    whole = objective.tokens <= config.max_text_tokens
    if not whole.all():
        log(
            f"{(~whole).sum()} of {len(whole)} texts have more than {config.max_text_tokens} "
            "tokens and are skipped"
        )
    held_out, training = held_out[whole[held_out]], training[whole[training]]
    if len(held_out) < 2 or not len(training):
        raise UserError(
            f"Too few texts have at most {config.max_text_tokens} tokens; use shorter texts or a "
            "larger --max-text-tokens."
        )
    if from_file:
        classes = length_classes([objective.texts[row] for row in held_out])
        held_out = held_out[pick_evenly(classes, config.held_out, config.seed)]
    return held_out, training


def _objective(
    examples: Sequence[Any], frozen: FrozenModels, start: Average, cache: Path
) -> Objective:
    if frozen.config.stage == 1:
        return Paraphrase(frozen, examples, cache)
    if frozen.config.stage == 2:
        return Tuning(frozen, examples, cache)
    return PreferenceLoss(frozen, examples, start.copy(), cache)


def _embeddings(
    objective: Objective, examples: Sequence[Any], frozen: FrozenModels, cache: Path
) -> Embeddings | GivenEmbeddings:
    if frozen.config.stage != 3:
        return Embeddings(objective.texts, frozen, cache)
    points = np.stack([example.point for example in examples])
    if points.shape[1] != frozen.encoder_dim:
        raise UserError(
            f"The points have {points.shape[1]} numbers, but the encoder's embeddings have "
            f"{frozen.encoder_dim}; create points with this encoder."
        )
    return GivenEmbeddings(points)


def _judged(
    state: State,
    bridge: Bridge,
    frozen: FrozenModels,
    objective: Objective,
    rows: np.ndarray,
    embeddings: np.ndarray,
    workers: Workers,
    output: Path,
) -> dict[str, float]:
    """Held-out figures of the averaged weights, which are saved if they are the best so far."""
    config = frozen.config
    with state.average.in_place():
        if isinstance(objective, PreferenceLoss):
            styles, most = objective.styles[rows], config.max_text_tokens
            cosine = greedy_cosine(
                frozen, bridge, embeddings, frozen.encoder, most, workers, styles
            )
            found, cost = {COSINE: cosine}, -cosine
        else:
            # The loss without an embedding never changes, so it is measured once.
            kinds = (MATCHED, SHUFFLED) if state.held_out_none else KINDS
            found = held_out_loss(
                bridge, objective, rows, embeddings, config.batch_tokens, workers, kinds
            )
            cost = found["held_out_matched"]
            state.held_out_none = state.held_out_none or {NONE_LOSS: found[NONE_LOSS]}
        if workers.is_first and cost < state.best:
            save_bridge(output, bridge, frozen.adapter)
    state.best = min(state.best, cost)
    return state.held_out_none | found


def _hash(examples: Sequence[Any]) -> str:
    """Digest of everything that is trained on."""
    found = hash_texts(_flat(examples))
    if not isinstance(examples[0], Preference):
        return found
    given = [np.concatenate([example.point, example.style]) for example in examples]
    return f"{found} {hashlib.sha256(np.stack(given).tobytes()).hexdigest()}"


def _flat(examples: Sequence[Any]) -> list[str]:
    """All texts of the examples, in order."""
    parts = ([example] if isinstance(example, str) else example for example in examples)
    return [part for whole in parts for part in whole if isinstance(part, str)]


def _say_nothing(line: str) -> None:
    """The log of every worker except the first."""
