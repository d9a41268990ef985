"""An LLM with int8 weights and activations, as compressed-tensors has them, for vLLM to read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

QUANTIZATION = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "channel",
                "dynamic": False,
            },
            "input_activations": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "token",
                "dynamic": True,
            },
        }
    },
}


def write_int8(llm: str, to: Path) -> str:
    """Round each output channel of the layers' matrices to 255 steps; the rest stays as it is."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(llm, to, ignore=shutil.ignore_patterns("*.safetensors*", "*.gguf"))
    tensors = {}
    for file in sorted(Path(llm).glob("*.safetensors")):
        for name, weight in load_file(file).items():
            if not (name.startswith("model.layers.") and name.endswith("_proj.weight")):
                tensors[name] = weight
                continue
            scale = weight.float().abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127
            tensors[name] = (weight.float() / scale).round().to(torch.int8)
            tensors[f"{name}_scale"] = scale.to(torch.bfloat16)
    save_file(tensors, to / "model.safetensors", {"format": "pt"})
    config = json.loads((to / "config.json").read_text())
    config["quantization_config"] = QUANTIZATION
    (to / "config.json").write_text(json.dumps(config, indent=1))
    return str(to)
