"""Texts that a bridge writes while it is trained: the LLM in this process, without an engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from smotext_ray.models.bridge import Bridge
from smotext_ray.training.frozen import FrozenModels

PROMPTS_AT_ONCE = 64
TOP_P = 0.95  # of sampled texts, as in decoder.top_p


@torch.inference_mode()
def generate(
    frozen: FrozenModels,
    bridge: Bridge,
    points: np.ndarray,
    max_tokens: int,
    temperature: float = 0.0,
) -> list[str]:
    """Decode points with the bridge and the LoRA layers as they are now.

    Parameters
    ----------
    frozen : FrozenModels
    bridge : Bridge
    points : ndarray of shape (n, encoder_dim), float32
    max_tokens : int
        A longer text is cut off there.
    temperature : float, default=0.0
        0: greedy.

    Returns
    -------
    list of str, length n
    """
    sampling: dict[str, Any] = {"do_sample": False}
    if temperature:
        sampling = {"do_sample": True, "temperature": temperature, "top_p": TOP_P, "top_k": 0}
    texts: list[str] = []
    for start in range(0, len(points), PROMPTS_AT_ONCE):
        some = torch.from_numpy(points[start : start + PROMPTS_AT_ONCE]).to(frozen.device)
        prompts = bridge.prompt_embeds(some).to(frozen.dtype)
        with frozen.adapter.computing():
            ids = frozen.llm.generate(
                inputs_embeds=prompts,
                attention_mask=torch.ones(prompts.shape[:2], dtype=torch.long, device=some.device),
                max_new_tokens=max_tokens,
                pad_token_id=frozen.tokenizer.eos_token_id,
                **sampling,
            )
        texts += frozen.tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [text.strip() for text in texts]
