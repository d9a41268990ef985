"""Decoding with a bridge's LoRA layers: merged into the LLM, or applied separately by vLLM.

    python benchmarks/lora_serving.py --bridge default

Prints tokens a second of each, greedy, in a process of its own, and how many of the texts
are the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np
import torch


def decode(bridge_path: str, merge: bool, points: int) -> None:
    """Print the speed and the texts of one way, as JSON."""
    from smotext_ray.config.load import load_config
    from smotext_ray.models.engine import Engine
    from smotext_ray.models.files import locate_model
    from smotext_ray.models.load import load_bridge
    from smotext_ray.models.served_llm import merged_llm

    bridge, lora = load_bridge(bridge_path)
    llm = locate_model(load_config("offline").decoder.model).path
    if merge and lora:
        llm, lora = merged_llm(llm, lora), None
    rank = bridge.config.lora_rank
    engine = Engine(llm, bridge.prompt_length, lora=lora, lora_rank=rank, temperature=0.0)
    x = np.random.default_rng(0).standard_normal((points, bridge.config.encoder_dim), np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    with torch.inference_mode():
        embeds = bridge.prompt_embeds(torch.from_numpy(x)).to(getattr(torch, engine.dtype))
    prompts = [{"prompt_embeds": prompt} for prompt in embeds]
    engine.generate(prompts[:8], range(8))
    started = time.monotonic()
    found = engine.generate(prompts, range(points))
    seconds = time.monotonic() - started
    tokens = sum(sum(candidates.num_tokens) for candidates in found)
    print(json.dumps({"speed": tokens / seconds, "texts": [c.texts[0] for c in found]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bridge", default="default")
    parser.add_argument("--points", type=int, default=192)
    parser.add_argument("--way", choices=["merged", "apart"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        decode(options.bridge, options.way == "merged", options.points)
        return
    found = {}
    for way in ("merged", "apart"):
        command = [sys.executable, *sys.argv, "--way", way]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[way] = json.loads(out.splitlines()[-1])
        print(f"{way}: {found[way]['speed']:.0f} tokens a second")
    same = np.mean([a == b for a, b in zip(*(f["texts"] for f in found.values()), strict=True)])
    print(f"{same:.0%} of the texts are the same")


if __name__ == "__main__":
    main()
