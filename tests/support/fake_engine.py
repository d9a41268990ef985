"""Stands for vLLM, which takes ten seconds to import and changes the process."""

from __future__ import annotations

import itertools
import os
import sys
import types
from types import SimpleNamespace


class EngineDeadError(Exception):
    """Stands for vLLM's."""


class SyncMPClient:
    """Stands for vLLM's client of an engine in another process."""


class LLM:
    """Answers with each prompt's first number and its seed."""

    engine_core = None  # it computes in this process

    def __init__(self, model: str = "", **settings: object) -> None:
        self.model, self.settings = model, settings
        self.environment = dict(os.environ)  # when it was started
        self.batches: list[list[float]] = []  # of each step
        self.refused: set[float] = set()  # prompts that raise
        self.error: Exception = ValueError("refused")
        self.broken: Exception | None = None  # what a step raises
        self.llm_engine = self
        self.numbers = itertools.count()
        self.waiting: list[tuple[str, float, SimpleNamespace]] = []
        self.model_config = SimpleNamespace(get_vocab_size=lambda: 9)

    def get_tokenizer(self):
        added = {2: True, 1: True, 5: False, 9: True}  # whether it is special
        tokens = {i: SimpleNamespace(special=special) for i, special in added.items()}
        return SimpleNamespace(added_tokens_decoder=tokens)

    def enqueue(self, prompts, sampling, lora_request, use_tqdm):
        self.lora_request = lora_request
        ((prompt,), (params,)) = prompts, sampling
        self.asked = params
        first = first_number(prompt)
        if first in self.refused:
            raise self.error
        number = str(next(self.numbers))
        self.waiting.append((number, first, params))
        return [f"{number}-and-what-vllm-adds"]

    def step(self):
        taken, self.waiting = self.waiting, []
        self.batches.append([first for _, first, _ in taken])
        if self.broken:
            raise self.broken
        return [
            SimpleNamespace(
                request_id=request_id,
                finished=True,
                outputs=[
                    SimpleNamespace(
                        text=f" {first:g} {params.seed} {number}\n",
                        finish_reason="stop" if number else "length",
                        token_ids=[0] * (number + 1),
                    )
                    for number in range(params.n)
                ],
            )
            for request_id, first, params in taken
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
    clients = types.ModuleType("vllm.v1.engine.core_client")
    clients.SyncMPClient = SyncMPClient
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
        "vllm.v1.engine.core_client": clients,
        "vllm.v1.engine.exceptions": exceptions,
        "vllm.v1.sample": types.ModuleType("vllm.v1.sample"),
        "vllm.v1.sample.logits_processor": processors,
    }.items():
        monkeypatch.setitem(sys.modules, name, fake)
    for name in [name for name in os.environ if name.startswith("VLLM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))


def fake_gpu(monkeypatch, capability: tuple[int, int] = (9, 0), gib: float = 139) -> None:
    """A GPU for torch and vLLM, which must be asked for without CUDA in this process."""
    import torch

    platform = SimpleNamespace(
        get_device_capability=lambda: capability,
        get_device_total_memory=lambda: int(gib * 2**30),
    )
    platforms = types.ModuleType("vllm.platforms")
    platforms.current_platform = platform
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("init", "get_device_capability", "get_device_properties", "mem_get_info"):
        monkeypatch.setattr(torch.cuda, name, initialized)


def initialized(*_: object) -> None:
    raise AssertionError("CUDA was initialized in this process")
