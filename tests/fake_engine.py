"""Stands for vLLM, which takes ten seconds to import and changes the process."""

from __future__ import annotations

import sys
import types
from types import SimpleNamespace

from smotext_ray import engine as module


class EngineDeadError(Exception):
    """Stands for vLLM's."""


class LLM:
    """Answers with each prompt's first number and its seed."""

    def __init__(self, model: str = "", **settings: object) -> None:
        self.model, self.settings = model, settings
        self.batches: list[list[float]] = []
        self.refused: set[float] = set()  # prompts that raise
        self.error: Exception = ValueError("refused")
        self.left_behind = False
        self.llm_engine = SimpleNamespace(has_unfinished_requests=lambda: self.left_behind)

    def generate(self, prompts, sampling, use_tqdm, lora_request):
        self.lora_request = lora_request
        firsts = [first_number(prompt) for prompt in prompts]
        self.batches.append(firsts)
        if self.refused & set(firsts):
            raise self.error
        return [
            SimpleNamespace(
                outputs=[
                    SimpleNamespace(
                        text=f" {first:g} {params.seed} {number}\n",
                        finish_reason="stop" if number else "length",
                        token_ids=[0] * (number + 1),
                    )
                    for number in range(params.n)
                ]
            )
            for first, params in zip(firsts, sampling, strict=True)
        ]


def first_number(prompt) -> float:
    if "prompt_token_ids" in prompt:
        return float(prompt["prompt_token_ids"][0])
    return prompt["prompt_embeds"][0, 0].item()


def fake_vllm(monkeypatch) -> None:
    """Put these in vLLM's place, and leave no trace in the environment."""
    vllm = types.ModuleType("vllm")
    vllm.LLM = LLM
    vllm.SamplingParams = SimpleNamespace
    exceptions = types.ModuleType("vllm.v1.engine.exceptions")
    exceptions.EngineDeadError = EngineDeadError
    requests = types.ModuleType("vllm.lora.request")
    requests.LoRARequest = lambda *given: given
    processors = types.ModuleType("vllm.v1.sample.logits_processor")
    processors.LogitsProcessor = object
    for name, fake in {
        "vllm": vllm,
        "vllm.lora": types.ModuleType("vllm.lora"),
        "vllm.lora.request": requests,
        "vllm.v1": types.ModuleType("vllm.v1"),
        "vllm.v1.engine": types.ModuleType("vllm.v1.engine"),
        "vllm.v1.engine.exceptions": exceptions,
        "vllm.v1.sample": types.ModuleType("vllm.v1.sample"),
        "vllm.v1.sample.logits_processor": processors,
    }.items():
        monkeypatch.setitem(sys.modules, name, fake)
    for name in ("VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_CPU_KVCACHE_SPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module.os, "environ", dict(module.os.environ))
