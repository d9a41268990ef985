"""Training a bridge, with LoRA on an LLM of SmolLM2-135M's shape: learning, resuming, speed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from alone import context, run_alone

from gpu_shapes.clock import device, told, wait
from gpu_shapes.made_models import made_encoder, made_llm, made_texts

SECONDS = 120  # of any process that is waited for
STEPS = 40
KILLED_AFTER = 5
BATCH_TOKENS = (512, 4096, 16_384)  # positions
TIMED_STEPS = 12


def measure(toy: bool, home: Path) -> dict[str, Any]:
    """`smotext_ray.training.train.run_steps`, each way by itself: one that fails is told as it
    is.
    """
    config, texts = made_training(toy, home)
    ways: dict[str, Callable[[], Any]] = {
        "learns": lambda: _learns(config, texts, home),
        "resumes": lambda: _resumes(config, texts, home),
        "reads_on_cpu": lambda: _reads_on_cpu(config, texts, home),
        "gradients": lambda: _gradients(config, texts),
        "compiled": lambda: _compiled(config, texts, home),
        "step_ms": lambda: _step_ms(config, texts, home, toy),
    }
    found = {name: told(way) for name, way in ways.items()}
    return {"line": "; ".join(f"{name} {_short(value)}" for name, value in found.items())} | found


def made_training(toy: bool, home: Path) -> tuple[Any, list[str]]:
    """A config of 40 steps between random models, and texts for it."""
    from smotext_ray.training.config import TrainConfig

    config = TrainConfig(
        encoder=made_encoder(home / "encoder", toy),
        llm=made_llm(home / "llm", toy),
        soft_tokens=8,
        projector_hidden_size=64 if toy else 1024,
        max_text_tokens=32 if toy else 128,
        lora_rank=8,
        steps=STEPS,
        decay_steps=0,
        tokens_per_step=100 if toy else 8000,
        batch_tokens=256 if toy else 8192,
        learning_rate=1e-2 if toy else 1e-3,
        held_out=8 if toy else 64,
        eval_every=STEPS // 2,
        save_minutes=0,  # after each step: a kill may come at any time
    )
    return config, made_texts(100 if toy else 8192, words=8 if toy else 40, toy=toy)


def _learns(config: Any, texts: Any, home: Path) -> dict[str, float]:
    """The loss of the first and of the last steps."""
    run(texts, config, home / "whole", home)
    losses = losses_of(home / "whole")
    first, last = float(np.mean(losses[:5])), float(np.mean(losses[-5:]))
    if not last < first:
        raise AssertionError(f"the loss went from {first:.3f} to {last:.3f}")
    return {"first": first, "last": last}


def _resumes(config: Any, texts: Any, home: Path) -> dict[str, float]:
    """A training that is killed after some steps ends like one that is not."""
    output = home / "killed"
    process = context("forkserver").Process(target=run, args=(texts, config, output, home))
    process.start()
    until = time.monotonic() + SECONDS
    while len(losses_of(output)) < KILLED_AFTER:
        if not process.is_alive() or time.monotonic() > until:
            raise AssertionError(f"the training to be killed ended by itself: {process.exitcode}")
        time.sleep(0.01)
    process.kill()
    process.join()
    left = len(losses_of(output))
    run(texts, config, output, home)
    resumed, whole = losses_of(output), losses_of(home / "whole")
    if left >= config.steps or len(resumed) != len(whole):
        raise AssertionError(f"killed after {left} steps of {config.steps}, then {len(resumed)}")
    difference = float(np.max(np.abs(np.array(resumed) - whole)))
    return {"killed_after": left, "largest_difference": difference}


def _reads_on_cpu(config: Any, texts: Any, home: Path) -> bool:
    """The state of a GPU is read where there is none."""
    outcome = run_alone(_without_gpu, (texts, config, home / "whole", home), SECONDS, "forkserver")
    if outcome.error:
        raise AssertionError(outcome.error)
    return True


def _without_gpu(texts: Any, config: Any, output: Path, cache: Path) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # CUDA has not begun in this process
    run(texts, config, output, cache)


def _gradients(config: Any, texts: Any) -> dict[str, float]:
    """Cosine of all gradients of one batch here and on the CPU, and the two losses."""
    import torch

    here = _gradient(config, texts[:8])
    with patch.object(torch.cuda, "is_available", lambda: False):
        cpu = _gradient(config, texts[:8])
    cosine = torch.nn.functional.cosine_similarity(here[1], cpu[1], dim=0).item()
    if cosine < 0.95:
        raise AssertionError(f"the cosine of the gradients is {cosine:.3f}")
    return {"cosine": cosine, "loss": here[0], "loss_on_cpu": cpu[0]}


def _gradient(config: Any, texts: list[str]) -> tuple[float, Any]:
    import torch

    from smotext_ray.training.frozen import FrozenModels
    from smotext_ray.training.objectives import Paraphrase

    frozen = FrozenModels(config)
    bridge = frozen.new_bridge(config)
    objective = Paraphrase(frozen, texts)
    embeddings = np.random.default_rng(0).normal(size=(len(texts), frozen.encoder_dim))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    batch = objective.batch(np.arange(len(texts)), embeddings.astype(np.float32))
    loss = objective.loss(bridge, batch).mean()
    loss.backward()
    learned = [*bridge.parameters(), *frozen.adapter.parameters()]
    gradients = [weight.grad.float().flatten() for weight in learned if weight.grad is not None]
    return loss.item(), torch.cat(gradients).cpu()


def _compiled(config: Any, texts: Any, home: Path) -> dict[str, float] | str:
    """Seconds of the first step, and milliseconds of the later ones, through torch.compile."""
    if device() == "cpu":
        return "on GPUs only"  # another compiler would be tried, for a minute
    config = _to_be_timed(config, TIMED_STEPS)
    started = time.monotonic()
    with timed_steps() as times:
        run(texts, config, home / "compiled", home, compile_llm=True)
    return {"first_step_s": times[0] - started, "step_ms": median_ms(times)}


def _step_ms(config: Any, texts: Any, home: Path, toy: bool) -> dict[str, float]:
    """Milliseconds per step by positions computed at once, and by rows of the loss's parts."""
    from smotext_ray.training.frozen import TokenLoss

    config = _to_be_timed(config, 4 if toy else TIMED_STEPS)
    rows = TokenLoss.ROWS_ON_GPU
    ways = [(64, rows)] if toy else [*((n, rows) for n in BATCH_TOKENS), (BATCH_TOKENS[-1], 128)]
    found = {}
    for batch, rows in ways:
        output = home / f"batch-{batch}-rows-{rows}"
        with patch.object(TokenLoss, "ROWS_ON_GPU", rows), timed_steps() as times:
            run(texts, replace(config, batch_tokens=batch), output, home)
        found[f"batch of {batch}, rows {rows}"] = median_ms(times)
    return found


def _to_be_timed(config: Any, steps: int) -> Any:
    """Without checkpoints and held-out losses between the steps."""
    return replace(config, steps=steps, eval_every=steps, save_minutes=60)


def run(texts: Any, config: Any, output: Path, cache: Path, **options: Any) -> None:
    """All steps that are left; the embeddings are shared by all trainings in ``cache``."""
    from smotext_ray.training.train import run_steps

    run_steps(texts, config, output, cache=cache, log=_say_nothing, **options)


def losses_of(output: Path) -> list[float]:
    """Of each step that is done; the last line may be half-written."""
    if not (output / "metrics.jsonl").exists():
        return []
    lines = (output / "metrics.jsonl").read_text().split("\n")[:-1]
    return [json.loads(line)["loss"] for line in lines]


@contextmanager
def timed_steps() -> Iterator[list[float]]:
    """When each step of the optimizer was done, on the GPU too."""
    import torch

    times: list[float] = []
    step = torch.optim.AdamW.step

    def timed(self: Any, *given: Any, **named: Any) -> Any:
        done = step(self, *given, **named)
        wait()
        times.append(time.monotonic())
        return done

    with patch.object(torch.optim.AdamW, "step", timed):
        yield times


def median_ms(times: list[float]) -> float:
    """Between steps, the first ones left out."""
    return float(1000 * np.median(np.diff(times)[len(times) // 4 :]))


def _short(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    if "error" in value:
        return f"FAILED ({value['error']})"
    return ", ".join(f"{name} {number:.4g}" for name, number in value.items())


def _say_nothing(line: str) -> None:
    """The log of a training that is only timed."""
