"""Reconstruction quality of a bridge on texts that it was not trained on.

The LLM's loss shows whether it uses the vector at all (matched compared with shuffled); decoding
and re-embedding shows whether the decoded text means the same.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smotext_ray.config.schema import RunConfig
from smotext_ray.gate.reference import class_reference
from smotext_ray.plan.interpolation import interpolate
from smotext_ray.plan.vectors import unit
from smotext_ray.training.points import looks_between, neighbor_pairs
from smotext_ray.utils.text import fingerprint, words

LAMS = (0.25, 0.5)
LONGEST = (10, 25, 60, 150)  # maximum number of words of the texts in a bucket
CANDIDATES = 4
TEMPERATURE = 0.7  # default of decoder.temperature


@dataclass(frozen=True)
class LengthBucket:
    """Metrics of greedily decoded texts whose sources have similar lengths.

    Attributes
    ----------
    rows : int
    cosine : float
        Mean cosine of the decoded text's embedding to its source's.
    retrieval_at_1 : float
        How often the decoded text is closest to its own source among all sources of any length.
    words, decoded_words : float
        Mean number of words of the sources, and of the decoded texts.
    """

    rows: int
    cosine: float
    retrieval_at_1: float
    words: float
    decoded_words: float


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one bridge on one set of texts.

    Attributes
    ----------
    rows : int
    nll_none, nll_shuffled, nll_matched : float
        Nats per token of the texts, with no, a wrong and the right embedding.
    cosine_greedy, cosine_shuffled : float
        Mean cosine of the greedily decoded text's embedding to its source's, and to another text's.
    cosine_best_of_4 : float
        The same for the closest of four sampled texts.
    retrieval_at_1 : float
        How often the greedy text is closest to its own source among all sources.
    class_agreement : float or None
        How often it is closest to its own class; None without labels.
    verbatim_share : float
        Share of greedy texts equal to one of the texts, ignoring case and white space.
    interpolated : dict
        Maps lam to the mean cosine of the greedy text to its interpolated point.
    by_length : dict
        Maps numbers of words, such as "11 to 25", to a `LengthBucket`; shortest first, without
        empty ones.
    """

    rows: int
    nll_none: float
    nll_shuffled: float
    nll_matched: float
    cosine_greedy: float
    cosine_shuffled: float
    cosine_best_of_4: float
    retrieval_at_1: float
    class_agreement: float | None
    verbatim_share: float
    interpolated: dict[str, float]
    by_length: dict[str, LengthBucket]

    def as_json(self) -> dict[str, Any]:
        """The metrics as a mapping of plain values."""
        return asdict(self)


def evaluate_bridge(
    texts: Sequence[str], labels: Sequence[Any] | None, config: RunConfig
) -> Evaluation:
    """Load the bridge and the models of ``config``, and evaluate the bridge on texts.

    Raises
    ------
    UserError
        If the bridge was trained for other models.
    """
    from smotext_ray.models.decoder import Decoder
    from smotext_ray.models.files import locate_model
    from smotext_ray.models.load import check_models, load_bridge, load_encoder

    check_models(config)
    bridge, lora = load_bridge(config.bridge.path)
    encoder = load_encoder(config)
    loss = _loss(texts, config, bridge, lora, encoder)
    _free_memory()
    decoder = Decoder(
        locate_model(config.decoder.model).path,
        bridge,
        lora=lora,
        max_tokens=config.decoder.max_tokens,
        min_length=config.decoder.min_length,
        no_repeat_ngram=config.decoder.no_repeat_ngram,
        top_p=config.decoder.top_p,
        dtype=config.decoder.dtype,
        tensor_parallel_size=config.decoder.tensor_parallel_size,
        gpu_memory_utilization=config.decoder.gpu_memory_utilization,
        # This process has used the GPU, so vLLM would spawn a process that imports everything
        # again.
        own_process=False,
    )
    return evaluate(texts, labels, loss, encoder, decoder)


def _loss(
    texts: Sequence[str], config: RunConfig, bridge: Any, lora: Path | None, encoder: Any
) -> dict[str, float]:
    """The LLM's loss on the texts.

    A separate function, so that this copy of the LLM is freed before vLLM loads another.
    """
    from smotext_ray.training.config import training_of_bridge
    from smotext_ray.training.frozen import FrozenModels
    from smotext_ray.training.held_out import held_out_loss
    from smotext_ray.training.objectives import Paraphrase

    training = training_of_bridge(config, bridge.config)
    frozen = FrozenModels(training)
    if lora:
        frozen.adapter.load(lora)
    loss = held_out_loss(
        bridge.to(frozen.device),
        Paraphrase(frozen, texts),
        np.arange(len(texts)),
        encoder.encode(texts, config.encoder.batch_size),
        training.batch_tokens,
    )
    bridge.cpu()
    return loss


def _free_memory() -> None:
    """Free the memory of models that went out of scope: vLLM checks how much is free."""
    import torch

    gc.collect()  # an LLM with LoRA layers has reference cycles
    torch.cuda.empty_cache()


def evaluate(
    texts: Sequence[str],
    labels: Sequence[Any] | None,
    loss: Mapping[str, float],
    encoder: Any,
    decoder: Any,
) -> Evaluation:
    """Evaluate a bridge.

    Parameters
    ----------
    texts : sequence of str, length n
    labels : sequence, length n, or None
        Without them any two texts may be neighbors.
    loss : mapping
        Losses of the LLM on the texts, from ``held_out_loss``.
    encoder : Encoder
    decoder : Decoder
        Decoder with the bridge; its sampling settings are changed.

    Returns
    -------
    Evaluation
    """
    x = unit(encoder.encode(texts))
    lengths = np.asarray(decoder.count_tokens(texts), np.float64)
    decoder.set_sampling(num_candidates=1, temperature=0.0)
    greedy = _decoded(decoder, x, lengths, texts)
    y = unit(encoder.encode([found[0] for found in greedy]))
    near = y @ x.T
    return Evaluation(
        rows=len(texts),
        nll_none=loss["held_out_none"],
        nll_shuffled=loss["held_out_shuffled"],
        nll_matched=loss["held_out_matched"],
        cosine_greedy=float(np.diag(near).mean()),
        cosine_shuffled=float(np.roll(near, 1, axis=1).diagonal().mean()),
        retrieval_at_1=float((near.argmax(1) == np.arange(len(x))).mean()),
        class_agreement=None if labels is None else _class_agreement(x, y, labels),
        verbatim_share=_verbatim(texts, [found[0] for found in greedy]),
        by_length=_by_length(texts, [found[0] for found in greedy], near),
        interpolated=_interpolated(texts, labels, x, lengths, encoder, decoder),
        cosine_best_of_4=_best(decoder, encoder, x, lengths, texts),
    )


def _decoded(
    decoder: Any, points: np.ndarray, lengths: np.ndarray, examples: Sequence[str]
) -> list[list[str]]:
    found = decoder.decode(points, range(len(points)), lengths, examples)
    failed = [candidates.error for candidates in found if candidates.error]
    if failed:
        raise RuntimeError(
            f"{len(failed)} points could not be decoded; the first error: {failed[0]}"
        )
    return [candidates.texts for candidates in found]


def _best(
    decoder: Any, encoder: Any, x: np.ndarray, lengths: np.ndarray, texts: Sequence[str]
) -> float:
    decoder.set_sampling(CANDIDATES, TEMPERATURE)
    sampled = _decoded(decoder, x, lengths, texts)
    y = unit(encoder.encode([text for found in sampled for text in found]))
    cosines = (y.reshape(len(x), CANDIDATES, -1) * x[:, None, :]).sum(-1)
    return float(cosines.max(1).mean())


def _class_agreement(x: np.ndarray, y: np.ndarray, labels: Sequence[Any]) -> float:
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    sums = np.zeros((len(names), x.shape[1]))
    np.add.at(sums, codes, x)
    wide = x.astype(np.float64)
    reference = class_reference(np.bincount(codes), sums, wide.T @ wide, np.empty(0, np.int64))
    return float((reference.nearest_class(y) == codes).mean())


def _by_length(
    texts: Sequence[str], decoded: Sequence[str], near: np.ndarray
) -> dict[str, LengthBucket]:
    source_words, decoded_words = (
        np.array([len(words(text)) for text in each]) for each in (texts, decoded)
    )
    own, is_nearest = np.diag(near), near.argmax(1) == np.arange(len(near))
    bucket = np.searchsorted(LONGEST, source_words)
    found = {}
    for i in np.unique(bucket).tolist():
        rows = bucket == i
        first = LONGEST[i - 1] + 1 if i else 1
        name = f"{first} to {LONGEST[i]}" if i < len(LONGEST) else f"{first} or more"
        found[name] = LengthBucket(
            rows=int(rows.sum()),
            cosine=float(own[rows].mean()),
            retrieval_at_1=float(is_nearest[rows].mean()),
            words=float(source_words[rows].mean()),
            decoded_words=float(decoded_words[rows].mean()),
        )
    return found


def _verbatim(texts: Sequence[str], decoded: Sequence[str]) -> float:
    known = {fingerprint(text) for text in texts}
    return float(np.mean([fingerprint(text) in known for text in decoded]))


def _interpolated(
    texts: Sequence[str],
    labels: Sequence[Any] | None,
    x: np.ndarray,
    lengths: np.ndarray,
    encoder: Any,
    decoder: Any,
) -> dict[str, float]:
    owners = np.zeros(len(texts)) if labels is None else np.asarray(labels)
    pairs = neighbor_pairs(texts, owners, x, np.random.default_rng(0))
    cosines = {}
    for lam in LAMS:
        lams = np.full(len(pairs), lam, np.float32)
        points = interpolate(x[pairs[:, 0]], x[pairs[:, 1]], lams, True)
        decoded = _decoded(decoder, points, *looks_between(texts, lengths, pairs, lams))
        y = unit(encoder.encode([found[0] for found in decoded]))
        cosines[str(lam)] = float((y * unit(points)).sum(1).mean())
    return cosines
