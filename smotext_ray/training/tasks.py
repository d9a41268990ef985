"""Create tasks for stage 2 (background, question, answer) from any unlabeled texts.

Half of them ask for a text similar to the background: the answer is its nearest neighbor in the
corpus. Half ask about the background: the answer is the LLM's own, given the background as plain
text; the bridge must elicit the same answer from the soft tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.texts import _rows
from smotext_ray.errors import UserError
from smotext_ray.models.prompts import about_background, instruction_token_ids
from smotext_ray.plan.neighbors import same_class_neighbors
from smotext_ray.training.data import Task
from smotext_ray.utils.files import whole_file
from smotext_ray.utils.text import fingerprint

if TYPE_CHECKING:
    from smotext_ray.training.frozen import FrozenModels


ANOTHER = (
    "Write another text on this subject and in this style.",
    "Write one more text that could stand beside it.",
)
ABOUT = (
    "What is it about? Answer in one sentence.",
    "Which words in it matter most?",
    "What kind of text is it, and who might have written it?",
    "Say the same in other words.",
)
ANSWER_TOKENS = 48
TEXTS_AT_ONCE = 32  # answered in one batch
NEIGHBORS = 5


def make_tasks(
    texts: Sequence[str],
    frozen: FrozenModels,
    rows: int,
    seed: int,
    log: Callable[[str], Any] = print,
) -> list[Task]:
    """Create tasks from texts.

    Parameters
    ----------
    texts : sequence of str
        At least two distinct texts.
    frozen : FrozenModels
    rows : int
        Number of tasks, half of each kind. Neighbors are searched among this many texts.
    seed : int
        Seed for choosing texts and questions.
    log : callable
        Called with each line of progress.

    Returns
    -------
    list of Task
        Fewer than ``rows`` if a text has no neighbors except its copies, or the LLM gives no
        answer.
    """
    rng = np.random.default_rng([seed, 3])
    chosen = [texts[row] for row in rng.permutation(len(texts))[:rows]]
    half = len(chosen) // 2
    tasks = _another(chosen, half, frozen, rng)
    backgrounds = chosen[half:]
    questions = [ABOUT[i] for i in rng.integers(len(ABOUT), size=len(backgrounds))]
    for start in range(0, len(backgrounds), TEXTS_AT_ONCE):
        some = slice(start, start + TEXTS_AT_ONCE)
        answers = answer(backgrounds[some], questions[some], frozen)
        found = zip(backgrounds[some], questions[some], answers, strict=True)
        tasks += [Task(*task) for task in found if task[2]]
        log(f"{len(tasks)} of {len(chosen)} tasks")
    return tasks


def _another(
    texts: Sequence[str], first: int, frozen: FrozenModels, rng: np.random.Generator
) -> list[Task]:
    """The first texts, each with one of its nearest neighbors among all as the answer."""
    x = frozen.encoder.encode(texts)
    numbers = np.arange(len(texts))
    near = same_class_neighbors(numbers[:first], x, list(texts), numbers, NEIGHBORS, "cosine")
    if not near.shape[1]:
        return []
    pick = rng.integers(near.shape[1], size=first)
    questions = rng.integers(len(ANOTHER), size=first)
    pairs = zip(texts[:first], questions, near[np.arange(first), pick], strict=True)
    return [
        Task(text, ANOTHER[question], texts[other])
        for text, question, other in pairs
        if fingerprint(text) != fingerprint(texts[other])
    ]


@torch.inference_mode()
def answer(backgrounds: Sequence[str], questions: Sequence[str], frozen: FrozenModels) -> list[str]:
    """Greedy answers of the LLM, given the backgrounds as plain text."""
    prompts = []
    texts = frozen.embed_texts(backgrounds)
    for text, question in zip(texts, questions, strict=True):
        ids = instruction_token_ids(about_background(question), frozen.tokenizer)
        before, after = frozen.around(ids)
        prompts.append(torch.cat([before, text, after]))
    # Padding on the left, because generation continues on the right.
    longest = max(map(len, prompts))
    inputs = torch.stack([torch.nn.functional.pad(p, (0, 0, longest - len(p), 0)) for p in prompts])
    lengths = torch.tensor([len(p) for p in prompts], device=inputs.device)
    mask = torch.arange(longest, device=inputs.device) >= longest - lengths[:, None]
    with frozen.adapter.computing(False):
        ids = frozen.llm.generate(
            inputs_embeds=inputs,
            attention_mask=mask.long(),
            max_new_tokens=ANSWER_TOKENS,
            do_sample=False,
            pad_token_id=frozen.tokenizer.eos_token_id,
        )
    return [text.strip() for text in frozen.tokenizer.batch_decode(ids, skip_special_tokens=True)]


def write_tasks(tasks: Sequence[Task], file: Path) -> None:
    """Write tasks as a parquet table for stage 2."""
    columns = zip(*tasks, strict=True)
    table = pa.table(dict(zip(Task._fields, map(list, columns), strict=True)))
    with whole_file(file) as handle:
        pq.write_table(table, handle)


def read_tasks(path: str) -> list[Task]:
    """Read tasks for stage 2 from a table with the columns background, question and answer.

    Raises
    ------
    UserError
        If the file or a column is missing, or no row has all three.
    """
    background, question, answer = Task._fields
    config = InputConfig(path=path, text_column=background, label_column=question, id_column=answer)
    try:
        rows = _rows(config, *Task._fields)
    except UserError as error:
        if "has no column" not in str(error):
            raise
        raise UserError(
            f"{path} is not a table of tasks; stage 2 needs the columns background, question and "
            "answer (smotext bridge tasks creates such a table from any texts)."
        ) from error
    tasks = [
        Task(*(text.strip() for text in row))
        for row in rows
        if all(isinstance(text, str) and text.strip() for text in row)
    ]
    if not tasks:
        raise UserError(f"{path} has no row with a background, a question and an answer.")
    return tasks
