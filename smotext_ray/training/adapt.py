"""Adapt a bridge to the texts of one corpus, within a number of minutes.

The training of ``smotext_ray.training.steps``, with measures that keep a short one from doing harm:

- a step mixes texts of the corpus with texts that the bridge itself wrote before, at random
  directions of the embedding space, each with its own embedding (pseudo-rehearsal: Robins, 1995,
  doi:10.1080/09540099550039318). The texts that the bridge was trained on are not available.
  Those that the default bridge wrote are in its directory; any other bridge first writes some;
- texts are never truncated, and are used at most `EPOCHS` times;
- warm-up and decay are shares of the time, and the learning rates are low;
- the bridge is judged by its purpose, the cosine of a greedily decoded text to the embedding of a
  text that it was not trained on. The loss falls even while greedy texts become worse.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from smotext_ray.models.bridge import Bridge
from smotext_ray.models.files import bridge_directory
from smotext_ray.models.style import style_of
from smotext_ray.plan.vectors import unit
from smotext_ray.training.average import Average
from smotext_ray.training.config import TrainConfig
from smotext_ray.training.data import micro_batches, split_held_out, step_stream
from smotext_ray.training.embeddings import GivenEmbeddings
from smotext_ray.training.frozen import FrozenModels
from smotext_ray.training.generation import generate
from smotext_ray.training.held_out import greedy_cosine
from smotext_ray.training.lengths import count_tokens
from smotext_ray.training.objectives import Paraphrase
from smotext_ray.training.state import State, save_bridge
from smotext_ray.training.steps import new_optimizer, rate_fraction, take_step
from smotext_ray.training.workers import Workers

LEAST_TEXTS = 40  # with fewer, too few would be held out to tell anything
HELD_OUT = 64  # or a quarter of the texts if that is fewer
EPOCHS = 3
STEPS = 60  # at least this many in these epochs: steps on a small corpus have fewer tokens
REPLAY = 0.3  # share of a step's tokens
REPLAY_FILE = "replay.txt"  # one text per line
REPLAYED_PER_MINUTE = 200  # texts from that file, all of which must be embedded first
REPLAY_TIME, MOST_REPLAYED, REPLAY_TEMPERATURE = 0.1, 1024, 0.7
WARM_UP, DECAY = 0.1, 0.2  # shares of the time
CHECK_TIME, MOST_CHECKS = 0.15, 6


@dataclass(frozen=True)
class Adaptation:
    """The outcome of an adaptation.

    Attributes
    ----------
    texts : int
        Distinct texts of the corpus that are short enough to train on, held-out ones included.
    held_out, replayed : int
        Number of texts to judge by, and of texts that the bridge wrote before.
    steps : int
        0: there were too few texts, and nothing was trained.
    cosine_before, cosine_after : float or None
        Mean cosine of the held-out texts' greedy decodings to their embeddings: for the original
        bridge, and for the best one since.
    """

    texts: int
    held_out: int = 0
    replayed: int = 0
    steps: int = 0
    cosine_before: float | None = None
    cosine_after: float | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the adapted bridge is as faithful as the original one, and was saved."""
        if self.cosine_before is None or self.cosine_after is None:
            return False
        return self.cosine_after >= self.cosine_before


class Clock:
    """How much of an adaptation's time has passed.

    Parameters
    ----------
    minutes : float
    """

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * minutes
        self._started = time.monotonic()

    def share(self, reserved: float = 0.0) -> float:
        """The share that has passed, from 0; ``reserved`` seconds are kept for later."""
        return (time.monotonic() - self._started) / max(self.seconds - reserved, 1e-9)


def adapt(
    texts: Sequence[str],
    embeddings: np.ndarray,
    config: TrainConfig,
    encoder: Any,
    minutes: float,
    output: Path,
    *,
    max_tokens: int,
    log: Callable[[str], Any] = print,
) -> Adaptation:
    """Adapt a bridge to texts; it is saved if its greedy texts are no less faithful.

    Parameters
    ----------
    texts : sequence of str, length n
    embeddings : ndarray of shape (n, encoder_dim), float32
    config : TrainConfig
        Its ``start_from`` is the bridge to adapt; steps and decay are not used.
    encoder : Encoder
        The encoder of ``embeddings``.
    minutes : float
        Time for everything. At least one step is taken.
    output : Path
        Directory for the adapted bridge; it stays empty if the bridge is not kept.
    max_tokens : int
        Maximum number of tokens of a decoded text.
    log : callable, default=print
        Called with each line of progress.

    Returns
    -------
    Adaptation
    """
    clock = Clock(minutes)
    frozen = FrozenModels(config)
    bridge = frozen.new_bridge(config)
    own = _whole(texts, frozen)
    if len(own) < LEAST_TEXTS:
        return Adaptation(texts=len(own))
    texts, embeddings = [texts[row] for row in own], embeddings[own]
    number = min(HELD_OUT, len(texts) // 4)
    held_out, training = split_held_out(len(texts), number, config.seed)

    judged = [texts[row] for row in held_out]
    styles = style_of(judged, count_tokens(judged, frozen))

    def cosine_now() -> float:
        return greedy_cosine(
            frozen, bridge, embeddings[held_out], encoder, max_tokens, styles=styles
        )

    began = time.monotonic()
    before = cosine_now()
    of_check = time.monotonic() - began
    log(f"held-out greedy cosine {before:.3f}")
    replayed = _replay(frozen, minutes) or _written(frozen, bridge, max_tokens, clock)
    objective = Paraphrase(frozen, [*texts, *replayed])
    of_replayed = encoder.encode(replayed) if replayed else embeddings[:0]
    vectors = GivenEmbeddings(np.concatenate([embeddings, of_replayed]))
    old = np.arange(len(texts), len(objective.texts))
    own_tokens = int(objective.tokens[training].sum())
    of_step = min(config.tokens_per_step, max(1, EPOCHS * own_tokens // STEPS))
    most_steps = max(1, EPOCHS * own_tokens // of_step)
    # The corpus keeps its tokens per step: replayed texts are added on top.
    streams = [
        (rows, step_stream(objective.tokens[rows], objective.positions[rows], tokens, config.seed))
        for rows, tokens in ((training, of_step), (old, round(of_step * REPLAY / (1 - REPLAY))))
        if len(rows)
    ]

    learned = nn.ModuleDict({"bridge": bridge, "adapter": frozen.adapter})
    optimizer, average = new_optimizer(learned, config), Average(learned)
    state = State({}, learned, average, optimizer, warmup_steps=0)
    checks = int(np.clip(CHECK_TIME * clock.seconds / max(of_check, 1e-9), 1, MOST_CHECKS))
    checked, over, after = 0, 0.0, float("-inf")
    while over < 1:
        hands = [rows[hand] for rows, stream in streams for hand in next(stream)]
        batches = micro_batches(hands, objective.positions, config.batch_tokens)
        found = take_step(state, batches, rate_at(over), objective, bridge, vectors, Workers())
        over = min(1.0, max(clock.share(of_check), state.step / most_steps))
        if int(over * checks) == checked:
            continue
        checked = int(over * checks)
        with average.in_place():
            cosine = cosine_now()
            if cosine >= max(before, after):
                save_bridge(output, bridge, frozen.adapter)
        after = max(after, cosine)
        log(f"step {state.step} loss {found['loss']:.3f} held-out greedy cosine {cosine:.3f}")
    return Adaptation(len(texts), number, len(replayed), state.step, before, after)


def rate_at(share: float) -> float:
    """The learning rate, as a fraction of its peak, after a share of the time in [0, 1).

    Examples
    --------
    >>> rate_at(0.5), round(rate_at(0.85), 3)
    (1.0, 0.5)
    """
    in_decay = share >= 1 - DECAY
    decay = (round(1000 * (1 - DECAY)), round(1000 * DECAY)) if in_decay else ()
    return rate_fraction(round(1000 * share), round(1000 * WARM_UP), decay)


def _whole(texts: Sequence[str], frozen: FrozenModels) -> np.ndarray:
    """Row numbers of the distinct texts that are short enough to train on."""
    distinct = {text.strip(): row for row, text in reversed(list(enumerate(texts)))}
    rows = np.sort(np.fromiter(distinct.values(), np.int64, len(distinct)))
    tokens = count_tokens([texts[row] for row in rows], frozen) + 1
    return rows[tokens <= frozen.max_text_tokens]


def _replay(frozen: FrozenModels, minutes: float) -> list[str]:
    """Texts that the bridge wrote before, from its directory; none if there is no such file."""
    file = bridge_directory(frozen.config.start_from or "default") / REPLAY_FILE
    if not file.is_file():
        return []
    texts = [text for text in file.read_text(encoding="utf-8").split("\n") if text]
    most = max(1, round(REPLAYED_PER_MINUTE * minutes))
    drawn = np.random.default_rng([frozen.config.seed, 4]).permutation(len(texts))[:most]
    return _only_whole([texts[row] for row in drawn], frozen)


def _written(frozen: FrozenModels, bridge: Bridge, max_tokens: int, clock: Clock) -> list[str]:
    """Texts of the current bridge at random directions, as many as fit in a tenth of the time."""
    rng = np.random.default_rng([frozen.config.seed, 4])
    until = clock.share() + REPLAY_TIME
    texts: dict[str, None] = {}
    while len(texts) < MOST_REPLAYED and (not texts or clock.share() < until):
        points = unit(rng.standard_normal((32, frozen.encoder_dim)).astype(np.float32))
        made = generate(frozen, bridge, points, max_tokens, REPLAY_TEMPERATURE)
        known = len(texts)
        texts |= dict.fromkeys(text for text in made if text)
        if len(texts) == known:
            break  # the bridge no longer writes new texts
    return _only_whole(list(texts), frozen)


def _only_whole(texts: Sequence[str], frozen: FrozenModels) -> list[str]:
    return [texts[row] for row in _whole(texts, frozen)] if texts else []
