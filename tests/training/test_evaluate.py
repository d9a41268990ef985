"""The figures of ``smotext bridge eval``, with an encoder and decoders of known behaviour."""

from __future__ import annotations

import weakref
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from tiny_models import WORDS as TINY_WORDS
from tiny_models import tiny_bridge, tiny_encoder, tiny_llm

from smotext_ray.cli.bridge import show_evaluation
from smotext_ray.config.load import load_config
from smotext_ray.models import decoder, encoder
from smotext_ray.training.evaluate import evaluate, evaluate_bridge
from smotext_ray.training.frozen import FrozenModels

LOSS = {"held_out_none": 5.0, "held_out_shuffled": 6.0, "held_out_matched": 3.0}
WORDS = ["ship", "port", "sea", "wheat", "corn", "farm"]
TEXTS = ["ship port", "port sea", "ship sea", "wheat corn", "corn farm", "wheat farm"]
LABELS = ["ship"] * 3 + ["grain"] * 3


class WordCounts:
    """A text's embedding is which words it holds."""

    def encode(self, texts):
        return np.array([[text.split().count(w) for w in WORDS] for text in texts], np.float32)


class Decoder:
    """Says the text whose embedding is nearest to the point, or always the same."""

    def __init__(self, always: str | None = None):
        self.always = always
        self.n = 1

    def set_sampling(self, num_candidates, temperature):
        assert temperature == 0.0 or num_candidates > 1
        self.n = num_candidates

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]

    def decode(self, points, seeds, lengths, examples):
        assert len(points) == len(list(seeds)) == len(lengths) == len(examples)
        known = WordCounts().encode(TEXTS)
        known /= np.linalg.norm(known, axis=1, keepdims=True)
        said = [self.always or TEXTS[int((known @ point).argmax())] for point in points]
        # The last candidate is the good one, the others are off the subject.
        return [
            SimpleNamespace(texts=["farm ship"] * (self.n - 1) + [text], error="") for text in said
        ]


def test_a_perfect_bridge():
    found = evaluate(TEXTS, LABELS, LOSS, WordCounts(), Decoder())
    assert (found.rows, found.nll_none, found.nll_shuffled, found.nll_matched) == (6, 5, 6, 3)
    assert found.cosine_greedy == pytest.approx(1)
    assert found.cosine_best_of_4 == pytest.approx(1)
    assert found.retrieval_at_1 == 1
    assert found.class_agreement == 1
    assert found.verbatim_share == 1
    assert found.cosine_shuffled < 0.5
    # An interpolated point lies between two texts, and is told by the nearer one.
    assert 0.8 < found.interpolated["0.5"] < found.interpolated["0.25"] < 1


def test_a_bridge_that_is_not_read():
    found = evaluate(TEXTS, LABELS, LOSS, WordCounts(), Decoder(always="sea sea"))
    assert found.retrieval_at_1 <= 1 / 3
    assert found.class_agreement == 0.5
    assert found.cosine_greedy < 0.5
    assert found.verbatim_share == 0


def test_figures_by_length_of_the_source():
    texts = ["ship port", "wheat corn " * 10, "farm sea", "port sea " * 100]
    found = evaluate(texts, None, LOSS, WordCounts(), Decoder())
    assert list(found.by_length) == ["1 to 10", "11 to 25", "151 or more"]
    short, middle, long = found.by_length.values()
    assert (short.rows, middle.rows, long.rows) == (2, 1, 1)
    assert (short.words, middle.words, long.words) == (2, 20, 200)
    assert short.decoded_words == middle.decoded_words == long.decoded_words == 2
    assert middle.cosine == pytest.approx(1) and long.retrieval_at_1 == 1
    assert short.cosine == pytest.approx((1 + 0.5) / 2)  # nothing is said of farms at sea
    whole = sum(b.rows * b.cosine for b in found.by_length.values()) / len(texts)
    assert whole == pytest.approx(found.cosine_greedy)
    console = Console(record=True, width=80)
    show_evaluation(found, console)
    assert "2 of 200" in console.export_text()


def test_without_labels_there_is_no_class_agreement():
    found = evaluate(TEXTS, None, LOSS, WordCounts(), Decoder())
    assert found.class_agreement is None
    assert set(found.as_json()) == {
        *("rows", "nll_none", "nll_shuffled", "nll_matched", "cosine_greedy", "cosine_shuffled"),
        *("cosine_best_of_4", "retrieval_at_1", "class_agreement", "verbatim_share"),
        *("interpolated", "by_length"),
    }
    console = Console(record=True, width=80)
    show_evaluation(found, console)
    assert "no labels" in console.export_text()


def test_a_decoder_that_fails_is_no_low_figure():
    class Failing(Decoder):
        def decode(self, points, seeds, lengths, examples):
            return [SimpleNamespace(texts=[], error="out of memory") for _ in points]

    with pytest.raises(
        RuntimeError, match="6 points could not be decoded; the first error: out of"
    ):
        evaluate(TEXTS, LABELS, LOSS, WordCounts(), Failing())


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_one_encoder_and_one_llm_are_loaded_at_a_time(tmp_path, monkeypatch, lora_rank):
    llm, found = str(tiny_llm(tmp_path / "llm")), str(tiny_encoder(tmp_path / "encoder"))
    options = {
        "encoder.model": found,
        "encoder.dtype": "bfloat16",
        "decoder.model": llm,
        "bridge.path": str(tiny_bridge(tmp_path / "bridge", found, llm, lora_rank)),
    }
    llms, encoders, engines = [], [], []

    class Frozen(FrozenModels):
        def __init__(self, config):
            super().__init__(config)
            llms.append(weakref.ref(self.llm))

    class Encoder(encoder.Encoder):
        def __init__(self, model, **settings):
            super().__init__(model, **settings)
            encoders.append(settings["dtype"])

    class Engine(Decoder):
        """Says any text for any point."""

        def __init__(self, model, bridge, **settings):
            super().__init__(always="corn0 ship1")
            engines.append((llms[0](), settings["own_process"], bridge.output_scale.device.type))

        def decode(self, points, seeds, lengths, examples):
            return [SimpleNamespace(texts=[self.always] * self.n, error="") for _ in points]

    monkeypatch.setattr("smotext_ray.training.frozen.FrozenModels", Frozen)
    monkeypatch.setattr(encoder, "Encoder", Encoder)
    monkeypatch.setattr(decoder, "Decoder", Engine)
    texts = [" ".join(pair) for pair in pairwise(TINY_WORDS)]
    told = evaluate_bridge(texts, None, load_config(options=options))
    assert told.rows == len(texts) and np.isfinite(told.nll_matched)
    assert encoders == ["bfloat16"]
    assert engines == [(None, False, "cpu")]  # its weights were freed first
