"""Controls without a vector: the plain LLM, prompted with the class name or the parents' texts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
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
OF_PARENTS = (
    "Here are two texts on the topic '{label}'.\n\n1. {source}\n\n2. {neighbor}\n\n"
    "Write another text like these two. Give only the text."
)
PARENT_TOKENS = 128  # per parent; the rest is truncated


class PromptActor:
    """Adds candidate texts to plan rows, generated from prompts in words.

    Uses no bridge or LoRA layers; engine, sampling and seeds are the same as in `DecodeActor`.

    Parameters
    ----------
    config : RunConfig
    counter : actor handle
    points : int
        Expected number of points.
    labels : list
        All labels that rows may have.
    of_parents : bool, default=False
        Show the texts of source and neighbor (`OF_PARENTS`) instead of only the class name.
    """

    def __init__(
        self,
        config: RunConfig,
        counter: Any,
        points: int,
        labels: list[Any],
        of_parents: bool = False,
    ) -> None:
        from transformers import AutoTokenizer

        from smotext_ray.models.engine import Engine
        from smotext_ray.models.files import locate_model
        from smotext_ray.models.served_llm import int8_llm

        llm = locate_model(config.decoder.model).path
        tokenizer = load_pretrained(AutoTokenizer, llm)
        write = of_row if of_parents else of_label
        self.prompt = partial(write, tokenizer=tokenizer)
        absent = {"source_text": "", "neighbor_text": ""}
        longest = max(len(self.prompt({"label": label} | absent)) for label in labels)
        settings = config.decoder.model_dump(exclude={"model", "int8", "min_length"})
        settings |= {
            "expected_texts": points,
            "engines_per_gpu": config.resources.decoders_per_gpu,
        }
        model = int8_llm(llm) if config.decoder.int8 else llm
        with loading_alone():
            self.engine = Engine(model, longest + of_parents * 2 * PARENT_TOKENS, **settings)
        self.counter = counter

    def __call__(self, table: pa.Table) -> pa.Table:
        known = ("label", "labels", "source_text", "neighbor_text")
        columns = [c for c in known if c in table.column_names]
        rows, seeds = table.select(columns).to_pylist(), table["seed"].to_pylist()
        prompts = [{"prompt_token_ids": self.prompt(row)} for row in rows]
        return decode_rows(table, lambda: self.engine.generate(prompts, seeds), self.counter)


def of_label(row: Mapping[str, Any], tokenizer: Any) -> list[int]:
    """Token ids of a prompt for a text on a row's ``label``, or on its ``labels``."""
    return token_ids(INSTRUCTION.format(label=labels_in_words(row)), tokenizer)


def labels_in_words(row: Mapping[str, Any]) -> str:
    """A row's class, or all labels of its point."""
    return ", ".join(map(str, row.get("labels") or [row["label"]]))


def of_row(row: Mapping[str, Any], tokenizer: Any) -> list[int]:
    """Token ids of a prompt that shows the ``source_text`` and ``neighbor_text`` of a row."""
    source, neighbor = (_start(row[name], tokenizer) for name in ("source_text", "neighbor_text"))
    instruction = OF_PARENTS.format(label=row["label"], source=source, neighbor=neighbor)
    return token_ids(instruction, tokenizer)


def token_ids(instruction: str, tokenizer: Any) -> list[int]:
    """Token ids of an instruction, as a user turn if the LLM has a chat template."""
    if tokenizer.chat_template is None:
        return list(tokenizer(f"{instruction}\n")["input_ids"])
    turn = [{"role": "user", "content": instruction}]
    chat = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    # The chat template adds the model's start token.
    return list(tokenizer(chat, add_special_tokens=False)["input_ids"])


def _start(text: str, tokenizer: Any) -> str:
    """The first tokens of a text, two fewer than allowed: tokens may split where it is joined."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) <= PARENT_TOKENS - 2:
        return text
    return str(tokenizer.decode(ids[: PARENT_TOKENS - 2]))
