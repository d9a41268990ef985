"""Run by test_engine_process.py: a real engine of a tiny LLM, inside this process or outside.

Its findings are written as JSON. The way "unguarded" is what a user's script may look like: it
runs wherever this file is imported as the main module.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import word_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from smotext_ray.models import engine as module
from smotext_ray.models.engine import Engine
from smotext_ray.models.engine_device import Gpu
from smotext_ray.models.engine_loop import EngineDead

PROMPTS = [{"prompt_token_ids": [first, 7, 8]} for first in range(3, 9)]
LONG = 3000  # tokens; takes seconds
RANK = 4


def make(home: Path) -> None:
    """Save an LLM that hardly ever stops by itself, and LoRA layers for it."""
    tokenizer = word_tokenizer(None, bos_token="<s>", eos_token="</s>")
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,  # of 32 numbers, the least that vLLM computes on CPU
            num_key_value_heads=1,
            intermediate_size=64,
            max_position_embeddings=4096,
            initializer_range=0.3,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] = 0.0
    model.save_pretrained(home / "llm")
    tokenizer.save_pretrained(home / "llm")
    layers = get_peft_model(model, LoraConfig(r=RANK, target_modules=["q_proj", "down_proj"]))
    for name, weight in layers.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    layers.save_pretrained(home / "lora")


def engine_of(home: Path, lora: bool = True, **settings: Any) -> Engine:
    # vLLM's own top-p, as on a GPU: ours is for an engine in this process.
    settings = {"dtype": "float32", "top_p": 1.0, "max_tokens": LONG} | settings
    if lora:
        settings |= {"lora": home / "lora", "lora_rank": RANK}
    return Engine(str(home / "llm"), 8, **settings)


def answers(engine: Engine) -> dict[str, Any]:
    """Texts that depend on the seed, on the prompt and on the LoRA layers."""
    engine._sampling["max_tokens"] = 12
    engine.set_sampling(2, 0.7)
    found = {
        "sampled": [a.texts for a in engine.generate(PROMPTS, range(6))],
        "other_seeds": [a.texts for a in engine.generate(PROMPTS, range(100, 106))],
    }
    engine.set_sampling(1, 0.0)
    found["greedy"] = [a.texts for a in engine.generate(PROMPTS, range(6))]
    embeds = [{"prompt_embeds": torch.full((4, 64), 0.1 * i)} for i in range(3)]
    found["embeds"] = [a.texts for a in engine.generate(embeds, range(3))]
    too_long = [PROMPTS[0], {"prompt_token_ids": [5] * 4000}, PROMPTS[1]]
    found["around_refused"] = [a.texts for a in engine.generate(too_long, range(3))]
    return found


def inside(home: Path, found: Path) -> None:
    report = answers(engine_of(home))
    report["without_lora"] = answers(engine_of(home, lora=False))["greedy"]
    found.write_text(json.dumps(report))


def outside(home: Path, found: Path, victim: str) -> None:
    """The same answers; then a process of the engine is killed under an open call."""
    engine = engine_of(home, own_process=True)
    report: dict[str, Any] = answers(engine)
    engine._sampling["max_tokens"] = LONG
    call: Future[Any] = Future()

    def ask() -> None:
        try:
            call.set_result(engine.generate(PROMPTS, range(6)))
        except EngineDead as error:
            call.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    while len(engine._loop._running) < len(PROMPTS):
        pass
    family = psutil.Process().children(recursive=True)
    (killed,) = (process for process in family if process.name().endswith(victim))
    os.kill(killed.pid, signal.SIGKILL)
    report["open_call"] = type(call.exception(10)).__name__
    try:
        engine.generate(PROMPTS, range(6))
    except EngineDead as error:
        report["later_call"] = type(error).__name__
    found.write_text(json.dumps(report))


def unguarded(home: Path, found: Path, own: str) -> None:
    """The GPU's settings of an engine, on a machine where vLLM itself finds none."""
    module.find_gpu = lambda: Gpu((9, 0), 80 * 2**30)
    engine = engine_of(
        home, lora=False, max_tokens=12, expected_texts=10, own_process={"no": False}.get(own)
    )
    texts = [a.texts for a in engine.generate(PROMPTS, range(6))]
    found.write_text(json.dumps({"texts": texts, "processes": len(engine._loop._watch._processes)}))


ways = {"make": make, "inside": inside, "outside": outside, "unguarded": unguarded}
if __name__ == "__main__" or sys.argv[1] == "unguarded":
    ways[sys.argv[1]](*(Path(given) for given in sys.argv[2:4]), *sys.argv[4:])
