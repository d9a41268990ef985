"""Texts that a bridge writes during training, with the LLM in this process and no engine."""

from __future__ import annotations

import numpy as np
import torch

from smotext_ray.models.bridge import Bridge
from smotext_ray.training.frozen import FrozenModels

PROMPTS_AT_ONCE = 64
TOP_P = 0.95  # of sampled texts, as in decoder.top_p
# Finished texts leave the batch once they are this share of it, as copying the cache takes time.
WORTH_DROPPING = 0.125


@torch.inference_mode()
def generate(
    frozen: FrozenModels,
    bridge: Bridge,
    points: np.ndarray,
    max_tokens: int,
    temperature: float = 0.0,
    styles: np.ndarray | None = None,
) -> list[str]:
    """Decode points with the bridge and the LoRA layers as they are now.

    Parameters
    ----------
    frozen : FrozenModels
    bridge : Bridge
    points : ndarray of shape (n, encoder_dim), float32
    max_tokens : int
        Longer texts are truncated.
    temperature : float, default=0.0
        0: greedy.
    styles : ndarray of shape (n, SIZE), float32, optional
        What the texts should look like; see `smotext_ray.models.style`. Default: unknown.

    Returns
    -------
    list of str, length n
    """
    texts: list[str] = []
    given = [points] if styles is None else [points, styles]
    for start in range(0, len(points), PROMPTS_AT_ONCE):
        rows = slice(start, start + PROMPTS_AT_ONCE)
        some = [torch.from_numpy(each[rows]).to(frozen.device) for each in given]
        with frozen.adapter.computing():
            ids = _continued(frozen, bridge.prompt_embeds(*some), max_tokens, temperature)
        texts += frozen.tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [text.strip() for text in texts]


def _continued(
    frozen: FrozenModels, prompts: torch.Tensor, max_tokens: int, temperature: float
) -> list[list[int]]:
    """Token ids that follow prompts of one length, without the end token.

    transformers' ``generate`` would keep computing finished texts until the last one ends: three
    times the work if texts have 30 tokens and one reaches 96.
    """
    from transformers import DynamicCache

    table, end = frozen.llm.get_input_embeddings(), frozen.tokenizer.eos_token_id
    cache = DynamicCache()
    ids: list[list[int]] = [[] for _ in prompts]
    rows = torch.arange(len(prompts), device=prompts.device)  # rows still in the batch
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=prompts.device)
    inputs = prompts.to(table.weight.dtype)
    for _ in range(max_tokens):
        out = frozen.llm.model(inputs_embeds=inputs, past_key_values=cache, use_cache=True)
        hidden = out.last_hidden_state[:, -1].to(table.weight.dtype)
        found = _chosen((hidden @ frozen.head.T).float(), temperature)
        ended |= found == end
        for row, token, over in zip(rows.tolist(), found.tolist(), ended.tolist(), strict=True):
            if not over:
                ids[row].append(token)
        if ended.all():
            break
        if ended.float().mean() >= WORTH_DROPPING:
            left = (~ended).nonzero().squeeze(1)
            cache.batch_select_indices(left)
            rows, found, ended = rows[left], found[left], ended[left]
        inputs = table(found)[:, None]
    return ids


def _chosen(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """The next token of each row: the likeliest, or one drawn from the likeliest `TOP_P`."""
    if not temperature:
        return logits.argmax(1)
    p, order = torch.softmax(logits / temperature, dim=1).sort(dim=1, descending=True)
    p[p.cumsum(1) - p > TOP_P] = 0.0
    return order.gather(1, torch.multinomial(p, 1)).squeeze(1)
