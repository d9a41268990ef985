"""How well a bridge carries meaning: measured on texts that it was not trained on.

The LLM's loss tells whether it reads the vector at all (matched against shuffled); decoding
and embedding again tells whether the text that comes out means the same.
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
from smotext_ray.plan.neighbors import same_class_neighbors
from smotext_ray.plan.vectors import unit
from smotext_ray.utils.text import fingerprint

LAMS = (0.25, 0.5)
NEIGHBORS = 5
CANDIDATES = 4
TEMPERATURE = 0.7  # as decoder.temperature's default


@dataclass(frozen=True)
class Evaluation:
    """Figures of one bridge on one set of texts.

    Attributes
    ----------
    rows : int
    nll_none, nll_shuffled, nll_matched : float
        Nats a token of the texts, with no, a wrong and the right embedding.
    cosine_greedy, cosine_shuffled : float
        Mean cosine of the greedily decoded text's embedding to its own, and to another
        text's.
    cosine_best_of_4 : float
        The same for the nearest of four sampled texts.
    retrieval_at_1 : float
        How often the greedy text is nearest to its own source among all.
    class_agreement : float or None
        How often it is nearest to its own class; None without labels.
    verbatim_share : float
        Greedy texts that are equal to one of the texts, but for case and white space.
    interpolated : dict
        lam to the mean cosine of the greedy text to its interpolated point.
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

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self)


def evaluate_bridge(
    texts: Sequence[str], labels: Sequence[Any] | None, config: RunConfig
) -> Evaluation:
    """Load the bridge and the models of ``config`` and evaluate it on texts.

    Raises
    ------
    UserError
        If the bridge was trained between other models.
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
        top_p=config.decoder.top_p,
        dtype=config.decoder.dtype,
        tensor_parallel_size=config.decoder.tensor_parallel_size,
        gpu_memory_utilization=config.decoder.gpu_memory_utilization,
        # This process has used the GPU: vLLM would start another one with all that is imported.
        own_process=False,
    )
    return evaluate(texts, labels, loss, encoder, decoder)


def _loss(
    texts: Sequence[str], config: RunConfig, bridge: Any, lora: Path | None, encoder: Any
) -> dict[str, float]:
    """The LLM's loss on the texts.

    A function of its own, so that this copy of the LLM is gone before vLLM loads another.
    """
    from smotext_ray.training.config import TrainConfig
    from smotext_ray.training.frozen import FrozenModels
    from smotext_ray.training.held_out import held_out_loss
    from smotext_ray.training.objectives import Paraphrase

    training = TrainConfig(
        encoder=config.encoder.model,
        pooling=config.encoder.pooling,
        normalize=config.encoder.normalize,
        max_length=config.encoder.max_length,
        llm=config.decoder.model,
        template=bridge.config.template,
        lora_rank=bridge.config.lora_rank,
    )
    frozen = FrozenModels(training)
    if lora:
        frozen.adapter.load(lora)
    loss = held_out_loss(
        bridge.to(frozen.device),
        Paraphrase(frozen, texts, training.seed),
        np.arange(len(texts)),
        encoder.encode(texts, config.encoder.batch_size),
        training.batch_tokens,
    )
    bridge.cpu()
    return loss


def _free_memory() -> None:
    """Give back what the models of a finished function held: vLLM asks what is free."""
    import torch

    gc.collect()  # an LLM with LoRA layers refers to itself
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
        Without them every text may be every other's neighbor.
    loss : mapping
        Of the LLM on the texts, as ``held_out_loss`` gives it.
    encoder : Encoder
    decoder : Decoder
        Of the bridge; its sampling is changed.

    Returns
    -------
    Evaluation
    """
    x = unit(encoder.encode(texts))
    decoder.set_sampling(num_candidates=1, temperature=0.0)
    greedy = _decoded(decoder, x)
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
        interpolated=_interpolated(texts, labels, x, encoder, decoder),
        cosine_best_of_4=_best(decoder, encoder, x),
    )


def _decoded(decoder: Any, points: np.ndarray) -> list[list[str]]:
    found = decoder.decode(points, range(len(points)))
    failed = [candidates.error for candidates in found if candidates.error]
    if failed:
        raise RuntimeError(f"{len(failed)} points could not be decoded, the first: {failed[0]}")
    return [candidates.texts for candidates in found]


def _best(decoder: Any, encoder: Any, x: np.ndarray) -> float:
    decoder.set_sampling(CANDIDATES, TEMPERATURE)
    sampled = _decoded(decoder, x)
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


def _verbatim(texts: Sequence[str], decoded: Sequence[str]) -> float:
    known = {fingerprint(text) for text in texts}
    return float(np.mean([fingerprint(text) in known for text in decoded]))


def _interpolated(
    texts: Sequence[str], labels: Sequence[Any] | None, x: np.ndarray, encoder: Any, decoder: Any
) -> dict[str, float]:
    pairs = _neighbor_pairs(texts, labels, x)
    cosines = {}
    for lam in LAMS:
        lams = np.full(len(pairs), lam, np.float32)
        points = interpolate(x[pairs[:, 0]], x[pairs[:, 1]], lams, "lerp", True)
        decoded = _decoded(decoder, points)
        y = unit(encoder.encode([found[0] for found in decoded]))
        cosines[str(lam)] = float((y * unit(points)).sum(1).mean())
    return cosines


def _neighbor_pairs(
    texts: Sequence[str], labels: Sequence[Any] | None, x: np.ndarray
) -> np.ndarray:
    """Each text with one of its nearest of the class; shape (pairs, 2)."""
    owners = np.zeros(len(texts)) if labels is None else np.asarray(labels)
    rng = np.random.default_rng(0)
    pairs = []
    for owner in np.unique(owners):
        rows = np.flatnonzero(owners == owner)
        near = same_class_neighbors(
            np.arange(len(rows)), x[rows], [texts[i] for i in rows], rows, NEIGHBORS, "cosine"
        )
        if near.shape[1]:
            chosen = near[np.arange(len(rows)), rng.integers(near.shape[1], size=len(rows))]
            pairs.append(np.stack([rows, rows[chosen]], axis=1))
    return np.concatenate(pairs)
