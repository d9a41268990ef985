"""Quantize an LLM to int8 for vLLM: weights per output channel, activations per token.

The format is compressed-tensors' "int-quantized"; the scheme is known as W8A8 [1]_.

References
----------
.. [1] Xiao, Lin, Seznec, Wu, Demouth, Han: SmoothQuant: accurate and efficient post-training
   quantization for large language models. ICML 2023. Only its rounding is used, not the smoothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from smotext_ray.models.checkpoint_rewrite import rewrite
from smotext_ray.models.pretrained import load_pretrained

HEAD = "lm_head"
STEPS = 127
_BITS = {"num_bits": 8, "type": "int", "symmetric": True}
QUANTIZATION = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "ignore": [HEAD],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {**_BITS, "strategy": "channel", "dynamic": False},
            "input_activations": {**_BITS, "strategy": "token", "dynamic": True},
        }
    },
}


def write_int8(llm: str, output: Path) -> None:
    """Write a checkpoint of the LLM with the matrices of its layers rounded to int8.

    Embeddings, norms, biases and the head stay in bfloat16.

    Parameters
    ----------
    llm : str
        Directory or hub name of the LLM.
    output : Path
        An empty directory.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):  # the layers without their weights
        model: Any = AutoModelForCausalLM.from_config(
            load_pretrained(AutoConfig, llm), trust_remote_code=False
        )
    modules = model.named_modules()
    matrices = {f"{name}.weight" for name, m in modules if isinstance(m, torch.nn.Linear)}

    def change(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        weight = weight.to(torch.bfloat16) if weight.is_floating_point() else weight
        if name not in matrices or name.startswith(HEAD):
            return {name: weight}
        steps, scale = rounded(weight)
        return {name: steps, f"{name}_scale": scale}

    rewrite(llm, output, change, quantization_config=QUANTIZATION)


def rounded(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize a matrix to int8 with a scale per row.

    Parameters
    ----------
    weight : Tensor of shape (out, in)

    Returns
    -------
    steps : Tensor of shape (out, in), int8
        From -127 to 127.
    scale : Tensor of shape (out, 1), bfloat16
        ``steps * scale`` is within half a step of the weight, up to rounding of the scale.
    """
    largest = weight.float().abs().amax(dim=1, keepdim=True)
    scale = (largest.clamp(min=1e-8) / STEPS).to(torch.bfloat16)
    steps = (weight.float() / scale.float()).round().clamp(-STEPS, STEPS)
    return steps.to(torch.int8), scale
