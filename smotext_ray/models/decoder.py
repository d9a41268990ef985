"""Decode points to candidate texts: the bridge, then vLLM with ``prompt_embeds``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smotext_ray.errors import UserError
from smotext_ray.models.bridge import Bridge
from smotext_ray.models.engine import Candidates, Engine
from smotext_ray.models.pretrained import load_pretrained
from smotext_ray.models.served_llm import int8_llm, merged_llm
from smotext_ray.models.style import style_of


class Decoder:
    """A vLLM engine for soft prompts, loaded once per process.

    Parameters
    ----------
    model : str
        Directory or hub name of a causal LLM.
    bridge : Bridge
    lora : Path, optional
        Directory of the bridge, if it has LoRA layers for the LLM. They are merged into its
        weights, in a checkpoint in the cache directory: as separate layers in vLLM, they would cut
        the speed on a CPU to a third (benchmarks/lora_serving.py), and need many more GPU kernels.
    int8 : bool, default=False
        Run the LLM's layers in int8, from a checkpoint in the cache directory; LoRA layers are
        merged first.
    min_length : float, in [0, 1], default=0
        No text ends before this share of the length that `decode` is given for it, unless the LLM
        is sure of the end.
    max_tokens : int, default=96
    **settings
        Settings of the `Engine`: num_candidates, temperature, top_p, no_repeat_ngram, dtype,
        tensor_parallel_size, gpu_memory_utilization; and own_process, expected_texts (points)
        and engines_per_gpu, which depend on the caller, not on the run's configuration.

    Raises
    ------
    UserError
        If the bridge was trained for an LLM of another hidden size, or the engines do not fit on a
        GPU.
    """

    def __init__(
        self,
        model: str,
        bridge: Bridge,
        *,
        lora: Path | None = None,
        int8: bool = False,
        min_length: float = 0.0,
        max_tokens: int = 96,
        **settings: Any,
    ) -> None:
        from transformers import AutoConfig, AutoTokenizer

        config = load_pretrained(AutoConfig, model)
        if config.hidden_size != bridge.config.llm_hidden_size:
            raise UserError(
                f"The bridge's soft tokens have {bridge.config.llm_hidden_size} dimensions for "
                f"{bridge.config.llm}, but {model} expects {config.hidden_size}; "
                "use the LLM that the bridge was trained for, or train a bridge for this one."
            )
        if (lora is not None) != (bridge.config.lora_rank > 0):
            raise ValueError("lora must be given for a bridge that has LoRA layers, and only then")
        if lora:
            model = merged_llm(model, lora)
        if int8:
            model = int8_llm(model)
        self.min_length = min_length
        self._max_tokens = max_tokens
        self._bridge = bridge
        self._tokenizer = load_pretrained(AutoTokenizer, model)
        self._engine = Engine(
            model,
            bridge.prompt_length,
            max_tokens=max_tokens,
            has_least_length=min_length > 0,
            **settings,
        )

    def set_sampling(self, num_candidates: int, temperature: float) -> None:
        """Set the number of texts per point and the temperature (0: greedy) from now on."""
        self._engine.set_sampling(num_candidates, temperature)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of the LLM's tokens in each text."""
        if not len(texts):
            return []
        ids = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return [len(row) for row in ids]

    @property
    def follows_parents(self) -> bool:
        """Whether `decode` makes use of lengths and examples."""
        return self.min_length > 0 or self._bridge.config.has_style

    @property
    def finished(self) -> int:
        """Number of points decoded so far, including those of calls in progress."""
        return self._engine.finished

    def decode(
        self,
        points: np.ndarray,
        seeds: Sequence[int],
        lengths: Sequence[float] | np.ndarray | None = None,
        examples: Sequence[str | None] | None = None,
    ) -> list[Candidates]:
        """Decode points; errors are reported per point.

        Parameters
        ----------
        points : ndarray of shape (n, d), float32
        seeds : sequence of int, length n
            Seed of each point's sampling; see `Engine.generate`.
        lengths : sequence of float, length n, optional
            Tokens that each point's text should have, for ``min_length`` and the bridge's styles; 0
            where unknown.
        examples : sequence of str or None, length n, optional
            Texts whose case and punctuation each point's text should have, for the bridge's
            styles; None where unknown.

        Returns
        -------
        list of Candidates, length n

        Raises
        ------
        EngineDead
            If the engine has died; the process should exit too.
        """
        results: list[Candidates | None] = [_why_unfit(p, self._bridge) for p in points]
        fit = [i for i, result in enumerate(results) if result is None]
        if fit:
            lengths = np.zeros(len(points)) if lengths is None else np.asarray(lengths, np.float64)
            # A longer text could not end within max_tokens.
            lengths = np.minimum(lengths, self._max_tokens)
            least = np.floor(self.min_length * lengths).astype(int).tolist()
            styles = style_of([None] * len(points) if examples is None else examples, lengths)
            decoded = self._engine.generate(
                self._prompts(points[fit], styles[fit]),
                [seeds[i] for i in fit],
                [least[i] for i in fit],
            )
            for i, candidates in zip(fit, decoded, strict=True):
                results[i] = candidates
        return [result for result in results if result is not None]

    @torch.inference_mode()
    def _prompts(
        self, points: np.ndarray, styles: np.ndarray | None = None
    ) -> list[dict[str, torch.Tensor]]:
        # Copy: Ray provides read-only arrays, which torch does not accept.
        copied = torch.from_numpy(np.array(points, dtype=np.float32))
        given = None if styles is None else torch.from_numpy(styles)
        embeds = self._bridge.prompt_embeds(copied, given).to(getattr(torch, self._engine.dtype))
        return [{"prompt_embeds": prompt} for prompt in embeds]


def _why_unfit(point: np.ndarray, bridge: Bridge) -> Candidates | None:
    # vLLM checks neither width nor values: a wrong width would read out of bounds.
    if point.shape != (bridge.config.encoder_dim,):
        return Candidates([], [], [], f"the point has shape {point.shape}")
    if not np.isfinite(point).all():
        return Candidates([], [], [], "the point has NaN or infinite values")
    return None
