"""A control: the plain LLM, prompted with the class name only."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from smotext_ray.cluster.gpus import loading_alone
from smotext_ray.config.schema import RunConfig
from smotext_ray.models.pretrained import load_pretrained
from smotext_ray.pipeline.actors import decode_rows

# The best of four wordings by texts that passed the gate: 27 of 48 with SmolLM2-135M-Instruct, on
# classes of the training rows of Reuters R8, TREC-6 and customer reviews. "Write one or two
# sentences about '{label}'." got 23, two others 20 and 10.
INSTRUCTION = "Write a short text on the topic '{label}'. Give only the text."


class PromptActor:
    """Plan rows -> the same rows with candidate texts generated from their labels only.

    No bridge and no LoRA layers; engine, sampling and seeds are the same as in `DecodeActor`.

    Parameters
    ----------
    config : RunConfig
    counter : actor handle
    points : int
        Expected number of points.
    labels : list
        All labels that rows may have.
    """

    def __init__(self, config: RunConfig, counter: Any, points: int, labels: list[Any]) -> None:
        from transformers import AutoTokenizer

        from smotext_ray.models.engine import Engine
        from smotext_ray.models.files import locate_model
        from smotext_ray.models.served_llm import int8_llm

        llm = locate_model(config.decoder.model).path
        tokenizer = load_pretrained(AutoTokenizer, llm)
        self.prompts = {label: prompt_token_ids(label, tokenizer) for label in labels}
        longest = max(len(ids) for ids in self.prompts.values())
        settings = config.decoder.model_dump(exclude={"model", "int8"})
        settings |= {
            "expected_texts": points,
            "engines_per_gpu": config.resources.decoders_per_gpu,
        }
        model = int8_llm(llm) if config.decoder.int8 else llm
        with loading_alone():
            self.engine = Engine(model, longest, **settings)
        self.counter = counter

    def __call__(self, table: pa.Table) -> pa.Table:
        labels, seeds = table["label"].to_pylist(), table["seed"].to_pylist()
        prompts = [{"prompt_token_ids": self.prompts[label]} for label in labels]
        return decode_rows(table, lambda: self.engine.generate(prompts, seeds), self.counter)


def prompt_token_ids(label: Any, tokenizer: Any) -> list[int]:
    """The instruction for a label, as a user turn if the LLM has a chat template."""
    instruction = INSTRUCTION.format(label=label)
    if tokenizer.chat_template is None:
        return list(tokenizer(f"{instruction}\n")["input_ids"])
    turn = [{"role": "user", "content": instruction}]
    chat = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    # The chat template adds the model's start token.
    return list(tokenizer(chat, add_special_tokens=False)["input_ids"])
