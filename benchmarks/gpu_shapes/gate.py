"""A 7B encoder as the gate: its memory and rate, alone and next to an engine on the same GPU.

The engine is played by a process that reads the weights of a 7B LLM for each step, as decoding
does: two processes on one GPU share it by time slices.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from alone import context

from gpu_shapes.clock import device, peak_gib, wait
from gpu_shapes.made_models import made_texts, mistral_config, mistral_tokenizer

BATCHES = (32, 64, 128)
DECODED = 256  # sequences of the engine
LONGEST_START = 120  # seconds


def measure(toy: bool, home: Path) -> dict[str, Any]:
    """`smotext_ray.models.encoder.Encoder` with Mistral-7B's shape in bfloat16, texts of 100
    tokens.
    """
    encoder = _encoder(toy, home)
    weights = peak_gib()
    texts = made_texts(8 if toy else 512, words=8 if toy else 100, toy=toy)
    rates, peaks = {}, {}
    for batch in BATCHES:
        rates[batch], peaks[batch] = _texts_per_second(encoder, texts, batch), peak_gib()
    alone, both, shared = _shared(encoder, texts, toy)
    line = (
        f"{weights:.1f} GiB of weights, {peaks[BATCHES[-1]]:.1f} at batch {BATCHES[-1]}; "
        f"{max(rates.values()):,.0f} texts/s alone, {shared:,.0f} next to an engine, whose steps "
        f"go from {alone:,.0f} to {both:,.0f} per second"
    )
    return {
        "line": line,
        "texts_per_second": rates,
        "peak_gib": {"weights": weights, **peaks},
        "shared": {"texts_per_second": shared, "steps_alone": alone, "steps_shared": both},
    }


def _encoder(toy: bool, home: Path) -> Any:
    """The real class around random weights that are made on the GPU: 14 GB never touch a disk."""
    import torch
    from transformers import AutoModel

    from smotext_ray.models.encoder import Encoder

    def made(*_: Any, **__: Any) -> Any:
        with torch.device(device()):
            return AutoModel.from_config(mistral_config(toy), dtype=torch.bfloat16)

    tokenizer = mistral_tokenizer(home / "mistral", toy)
    with patch.object(AutoModel, "from_pretrained", made):
        return Encoder(tokenizer, pooling="last", normalize=False, max_length=180, dtype="bfloat16")


def _texts_per_second(encoder: Any, texts: list[str], batch: int) -> float:
    encoder.encode(texts[:batch], batch)
    started = time.perf_counter()
    encoder.encode(texts, batch)
    return len(texts) / (time.perf_counter() - started)


def _shared(encoder: Any, texts: list[str], toy: bool) -> tuple[float, float, float]:
    """Steps per second of an engine alone, and with the gate; texts per second of that gate."""
    with _engine(toy) as steps:

        def rate(work: Any) -> float:
            before, started = steps.value, time.perf_counter()
            work()
            return (steps.value - before) / (time.perf_counter() - started)

        alone = rate(lambda: time.sleep(0.3 if toy else 3))
        found = []
        both = rate(lambda: found.append(_texts_per_second(encoder, texts, BATCHES[0])))
        return alone, both, found[0]


@contextmanager
def _engine(toy: bool) -> Any:
    """A counter of the steps of a process that decodes meanwhile."""
    here = context("forkserver")
    stop, steps = here.Event(), here.Value("q", 0)
    process = here.Process(target=_decode, args=(toy, stop, steps))
    process.start()
    try:
        until = time.monotonic() + LONGEST_START
        while not steps.value:
            if not process.is_alive() or time.monotonic() > until:
                raise RuntimeError("the process that plays the engine did not start")
            time.sleep(0.05)
        yield steps
    finally:
        stop.set()
        process.join(30)
        if process.is_alive():
            process.kill()


def _decode(toy: bool, stop: Any, steps: Any) -> None:
    """Read the weights of a 7B LLM again and again, as each step of decoding does."""
    import torch

    shape = mistral_config(toy)
    hidden, inner, heads = shape.hidden_size, shape.intermediate_size, shape.head_dim
    of_kv = shape.num_key_value_heads * heads
    sides = [(hidden, hidden), (hidden, 2 * of_kv), (hidden, hidden), (hidden, 2 * inner)]
    sides += [(inner, hidden)]
    made = {"device": device(), "dtype": torch.bfloat16}
    layers = [
        [torch.randn(side, **made) * 0.01 for side in sides] for _ in range(shape.num_hidden_layers)
    ]
    rows = {width: torch.randn(DECODED, width, **made) for width in (hidden, inner)}
    torch.set_num_threads(1)
    with torch.inference_mode():
        while not stop.is_set():
            for layer in layers:
                for weight in layer:
                    torch.mm(rows[len(weight)], weight)
            wait()
            steps.value += 1
