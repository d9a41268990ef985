"""The floor of a decoding step: an LLM of SmolLM2-135M's shape in plain torch, as one CUDA graph.

An engine has more to do than this. How far vLLM is above it is what its scheduler and sampler
cost; what the graph saves is what starting each kernel from Python costs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_shapes.clock import device, seconds_of
from gpu_shapes.made_models import llm_config

BATCHES = (256, 1024)
CONTEXT = 64  # tokens that a step looks back on
TIMES = 50


def measure(toy: bool, home: Path) -> dict[str, Any]:
    """Milliseconds per step with and without a graph, tokens per second with it."""
    import torch

    found = {}
    for batch in (4,) if toy else BATCHES:
        with torch.inference_mode():
            step = _step(toy, batch)
            eager = seconds_of(step, 3 if toy else TIMES)
            graph = seconds_of(_as_graph(step), 3 if toy else TIMES)
        found[batch] = {
            "eager_ms": 1000 * eager,
            "graph_ms": 1000 * graph,
            "tokens_per_second": batch / graph,
        }
    line = "; ".join(
        f"{batch} sequences: {row['graph_ms']:.2f} ms as a graph, {row['eager_ms']:.2f} without, "
        f"{row['tokens_per_second']:,.0f} tokens/s"
        for batch, row in found.items()
    )
    return {"line": line, "batches": found}


def _step(toy: bool, batch: int) -> Callable[[], Any]:
    """All layers for one new token of each sequence, the logits, and the likeliest token."""
    import torch
    from torch.nn import functional

    shape = llm_config(toy)
    hidden, inner, heads = shape.hidden_size, shape.intermediate_size, shape.num_attention_heads
    groups, width = shape.num_key_value_heads, shape.hidden_size // shape.num_attention_heads
    made = {"device": device(), "dtype": torch.bfloat16}

    def weight(rows: int, columns: int) -> Any:
        return torch.randn(rows, columns, **made) * 0.02

    layers = [
        {
            "qkv": weight((heads + 2 * groups) * width, hidden),
            "out": weight(hidden, hidden),
            "up": weight(2 * inner, hidden),
            "down": weight(hidden, inner),
            "norm": torch.ones(hidden, **made),
            "keys": torch.randn(batch, groups, CONTEXT, width, **made),
            "values": torch.randn(batch, groups, CONTEXT, width, **made),
        }
        for _ in range(shape.num_hidden_layers)
    ]
    table, tokens = weight(shape.vocab_size, hidden), torch.zeros(batch, dtype=torch.long, **_on())

    def attend(x: Any, layer: dict[str, Any]) -> Any:
        q, k, v = functional.linear(x, layer["qkv"]).split(
            [heads * width, groups * width, groups * width], dim=1
        )
        layer["keys"][:, :, -1] = k.view(batch, groups, width)
        layer["values"][:, :, -1] = v.view(batch, groups, width)
        seen = functional.scaled_dot_product_attention(
            q.view(batch, heads, 1, width), layer["keys"], layer["values"], enable_gqa=True
        )
        return functional.linear(seen.reshape(batch, hidden), layer["out"])

    def step() -> Any:
        x = table[tokens]
        for layer in layers:
            x = x + attend(functional.rms_norm(x, (hidden,), layer["norm"]), layer)
            up, gate = functional.linear(
                functional.rms_norm(x, (hidden,), layer["norm"]), layer["up"]
            ).chunk(2, dim=1)
            x = x + functional.linear(functional.silu(gate) * up, layer["down"])
        tokens.copy_(functional.linear(x, table).argmax(dim=1))
        return tokens

    return step


def _on() -> dict[str, str]:
    return {"device": device()}


def _as_graph(step: Callable[[], Any]) -> Callable[[], Any]:
    """The step as one CUDA graph; the step itself without a GPU."""
    import torch

    if device() == "cpu":
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # what is made on first use must not be in the graph
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
