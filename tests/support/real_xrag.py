"""Run by test_xrag.py: an imported checkpoint on vLLM, and the original on transformers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from tiny_xrag import RETRIEVER, XRAG, original_llm, prompt_ids, weights

from smotext_ray.models.bridge import Bridge
from smotext_ray.models.decoder import Decoder

POINTS = 5
TOKENS = 16


def main(directory: Path, found: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    # As long as SFR's vectors are to their width; no unit length here.
    points = 3 * torch.randn(POINTS, RETRIEVER, generator=generator)
    decoder = Decoder(
        str(directory / "llm"),
        Bridge.from_pretrained(directory / "bridge"),
        temperature=0.0,
        max_tokens=TOKENS,
        dtype="float32",
    )
    decoded = decoder.decode(points.numpy().astype(np.float32), list(range(POINTS)))
    report = {
        "errors": [candidates.error for candidates in decoded],
        "texts": [candidates.texts[0] for candidates in decoded],
        "num_tokens": [candidates.num_tokens[0] for candidates in decoded],
        "tokens": vllm_tokens(decoder, points),
        "transformers": transformers_tokens(points),
    }
    found.write_text(json.dumps(report, indent=1))


def vllm_tokens(decoder: Decoder, points: torch.Tensor) -> list[list[int]]:
    from vllm import SamplingParams

    prompts = decoder._prompts(points.numpy())
    greedy = SamplingParams(temperature=0.0, max_tokens=TOKENS)
    outputs = decoder._engine.llm.generate(prompts, greedy, use_tqdm=False)
    return [list(output.outputs[0].token_ids) for output in outputs]


@torch.inference_mode()
def transformers_tokens(points: torch.Tensor) -> list[list[int]]:
    """What xRAG's own code does: the placeholder's embedding row is replaced, then greedy."""
    model, projector = original_llm(torch.bfloat16).float(), weights()
    first, second = (
        (projector[f"projector.projector.{n}.weight"], projector[f"projector.projector.{n}.bias"])
        for n in (0, 2)
    )
    ids = torch.tensor([prompt_ids()])
    texts = []
    for point in points:
        hidden = torch.nn.functional.gelu(point @ first[0].float().T + first[1].float())
        inputs = model.get_input_embeddings()(ids)
        inputs[ids == XRAG] = hidden @ second[0].float().T + second[1].float()
        tokens = model.generate(
            inputs_embeds=inputs,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=TOKENS,
            do_sample=False,
        )
        texts.append(tokens[0].tolist())
    return texts


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
