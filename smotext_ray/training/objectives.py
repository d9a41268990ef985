"""The two stages of xRAG's training: their data and losses.

Paraphrase pretraining (stage 1): the LLM must generate the text from the soft tokens alone.
Context-aware tuning (stage 2): the LLM must answer from the soft tokens as it does when it reads
the text itself (Cheng et al., 2024, arXiv:2405.13792).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from smotext_ray.models.bridge import Bridge
from smotext_ray.models.prompts import about_background, instruction_token_ids
from smotext_ray.models.style import style_of
from smotext_ray.training.data import Task
from smotext_ray.training.frozen import Batch, FrozenModels, TokenLoss
from smotext_ray.training.lengths import count_tokens

UNTOLD = 10  # one in this many texts is trained without a style, which is not always known
KL_WEIGHT = 2.0  # relative to the answer's NLL, as in xRAG


class Paraphrase:
    """Stage 1: generate the text from its embedding.

    Parameters
    ----------
    frozen : FrozenModels
    texts : sequence of str
    seed : int
        Seed for drawing a template per batch, if there are several.
    cache : Path, optional
        Directory where lengths of large sets of texts are cached.

    Attributes
    ----------
    texts : sequence of str
        Texts whose embeddings become the soft tokens.
    tokens : ndarray of shape (n,)
        Target tokens of each text, including the end token.
    positions : ndarray of shape (n,)
        Positions that each text takes in the LLM.
    """

    def __init__(
        self, frozen: FrozenModels, texts: Sequence[str], cache: Path | None = None
    ) -> None:
        self._frozen = frozen
        self.texts = texts
        self.tokens = count_tokens(texts, frozen, cache) + 1
        around = sum(map(len, frozen.template))
        self.positions = self.tokens + around + frozen.config.soft_tokens - 1

    def batch(self, rows: np.ndarray, embeddings: np.ndarray) -> Batch:
        """Training rows prepared for the LLM."""
        texts = [self.texts[row] for row in rows]
        batch = self._frozen.batch(texts, embeddings)
        styles = style_of(texts, self.tokens[rows] - 1)
        partial = np.where(rows[:, None] % UNTOLD, styles, np.float32(0))
        batch.styles, batch.partial_styles = (
            torch.from_numpy(each).to(batch.ids.device) for each in (styles, partial)
        )
        return batch

    def loss(self, bridge: Bridge, batch: Batch) -> torch.Tensor:
        """Loss of each token; one in `UNTOLD` texts is generated without its style."""
        prompts = bridge.prompt_embeds(batch.embeddings, batch.partial_styles)
        return self._frozen.nll(prompts, batch)

    def nll(self, bridge: Bridge, batch: Batch, embeddings: torch.Tensor | None) -> torch.Tensor:
        """Loss of each token with the given embeddings instead of the batch's, or with none."""
        return self._frozen.nll(
            None if embeddings is None else bridge.prompt_embeds(embeddings, batch.styles), batch
        )


class Tuning:
    """Stage 2: answer like the LLM that reads the background as plain text.

    Parameters
    ----------
    frozen : FrozenModels
    tasks : sequence of Task
    cache : Path, optional
        Directory where lengths of large sets of tasks are cached.

    Attributes
    ----------
    texts : list of str
        Backgrounds whose embeddings become the soft tokens.
    tokens : ndarray of shape (n,)
        Tokens of the background or of the answer with its end token, whichever is larger: the
        teacher reads the former while the student generates the latter.
    positions : ndarray of shape (n,)
        Positions that each task takes in the LLM for the teacher.
    """

    def __init__(
        self, frozen: FrozenModels, tasks: Sequence[Task], cache: Path | None = None
    ) -> None:
        self._frozen, self._tasks = frozen, tasks
        self.texts = [task.background for task in tasks]
        background, question, answer = (
            count_tokens([task[part] for task in tasks], frozen, cache) for part in range(3)
        )
        self.tokens = np.maximum(background, answer + 1)
        instruction = sum(map(len, instruction_token_ids(about_background(""), frozen.tokenizer)))
        self.positions = instruction + question + background + answer

    def batch(self, rows: np.ndarray, embeddings: np.ndarray) -> Batch:
        """Training rows: their answers and prompts."""
        tasks, tokenizer = [self._tasks[row] for row in rows], self._frozen.tokenizer
        batch = self._frozen.batch([task.answer for task in tasks], embeddings)
        batch.around = [
            self._frozen.around(instruction_token_ids(about_background(task.question), tokenizer))
            for task in tasks
        ]
        batch.backgrounds = self._frozen.embed_texts([task.background for task in tasks])
        return batch

    def loss(self, bridge: Bridge, batch: Batch) -> torch.Tensor:
        """NLL of each answer token, and KL_WEIGHT times the divergence from the teacher's."""
        with torch.no_grad():
            teacher = self._frozen.answers(_between(batch, batch.backgrounds), batch, adapted=False)
        student = self._frozen.answers(_between(batch, bridge(batch.embeddings)), batch)
        ids = batch.ids[batch.ids >= 0]
        return TokenLoss.apply(student, self._frozen.head, ids, teacher, KL_WEIGHT)

    def nll(self, bridge: Bridge, batch: Batch, embeddings: torch.Tensor | None) -> torch.Tensor:
        """NLL of each answer token; without embeddings, the LLM gets only the question."""
        nothing = [batch.backgrounds[0][:0]] * len(batch.ids)
        middle = nothing if embeddings is None else bridge(embeddings)
        student = self._frozen.answers(_between(batch, middle), batch, embeddings is not None)
        return TokenLoss.apply(student, self._frozen.head, batch.ids[batch.ids >= 0])


def _between(batch: Batch, middle: Sequence[torch.Tensor] | torch.Tensor) -> list[torch.Tensor]:
    """Each row's prompt: the instruction around the background's stand-in."""
    return [
        torch.cat([before, inner.to(before.dtype), after])
        for (before, after), inner in zip(batch.around, middle, strict=True)
    ]
