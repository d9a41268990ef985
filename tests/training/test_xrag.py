"""An xRAG checkpoint is split without changing it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from imports_of_xrag import change, refusal
from safetensors.torch import load_file
from tiny_training import quiet
from tiny_xrag import (
    CONFIG,
    HIDDEN,
    INDEX,
    PROJECTOR,
    RETRIEVER,
    SHARDS,
    TEMPLATE,
    XRAG,
    llama_tokenizer,
    original_llm,
    prompt_ids,
    tiny_xrag,
    tiny_xrag_safetensors,
    weights,
    write_json,
)
from transformers import AutoModelForCausalLM, AutoTokenizer, MistralConfig, MistralModel

from smotext_ray.config.load import load_config
from smotext_ray.models.bridge import Bridge
from smotext_ray.models.encoder import Encoder
from smotext_ray.models.files import locate_model
from smotext_ray.models.load import check_models
from smotext_ray.training.xrag import import_xrag


def points(n: int = 3) -> torch.Tensor:
    return 3 * torch.randn(n, RETRIEVER, generator=torch.Generator().manual_seed(2))


def test_the_llm_says_what_the_original_says(imported):
    ids = torch.tensor([prompt_ids()])
    model = AutoModelForCausalLM.from_pretrained(imported.llm, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = original_llm(torch.bfloat16).float()(ids).logits
        assert torch.equal(model(ids).logits, expected)


def test_every_weight_is_copied_to_the_bit(imported):
    found = {}
    for file in imported.llm.glob("*.safetensors"):
        found |= load_file(file)
    expected = {name: tensor for name, tensor in weights().items() if name not in PROJECTOR}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}


def test_the_index_names_the_shard_of_each_weight(imported):
    index = json.loads((imported.llm / "model.safetensors.index.json").read_text())["weight_map"]
    assert set(index.values()) == {f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}
    assert all(name in load_file(imported.llm / file) for name, file in index.items())


def test_the_llms_config_is_a_plain_mistrals(imported):
    config = json.loads((imported.llm / "config.json").read_text())
    assert config["architectures"] == ["MistralForCausalLM"]
    gone = {"projector_type", "retriever_hidden_size", "_name_or_path"}
    kept = CONFIG.keys() - gone - {"architectures"}
    assert config.keys() == kept | {"architectures"}
    assert {key: config[key] for key in kept} == {key: CONFIG[key] for key in kept}


def test_the_tokenizer_keeps_its_added_tokens_pads_left_and_adds_no_end(original, imported):
    tokenizer = AutoTokenizer.from_pretrained(imported.llm)
    assert tokenizer.convert_tokens_to_ids(["<pad>", "<xRAG>"]) == [XRAG - 1, XRAG]
    assert tokenizer.padding_side == "left"
    ids = tokenizer("the corn")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id and ids[-1] != tokenizer.eos_token_id
    for name in ("tokenizer.model", "added_tokens.json", "generation_config.json"):
        assert (imported.llm / name).read_bytes() == (original / name).read_bytes()


def test_an_end_token_that_the_checkpoint_would_add_is_not_added(broken, tmp_path):
    change(broken / "tokenizer_config.json", add_eos_token=True)
    done = import_xrag(str(broken), tmp_path / "out", log=quiet)
    assert AutoTokenizer.from_pretrained(done.llm)("the corn")["input_ids"][-1] != 2
    assert len(Bridge.from_pretrained(done.bridge).after) == len(prompt_ids()) - 1 - at_xrag()


def at_xrag() -> int:
    return prompt_ids().index(XRAG)


def test_the_bridges_prompt_is_the_original_with_one_row_replaced(imported):
    bridge = Bridge.from_pretrained(imported.bridge)
    table = weights()["model.embed_tokens.weight"].float()
    prompts = bridge.prompt_embeds(points())
    expected = table[prompt_ids()].expand(3, -1, -1).clone()
    expected[:, at_xrag()] = bridge(points())[:, 0]
    assert torch.equal(prompts, expected)
    assert prompt_ids()[0] == 1  # the start token


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)], ids=str
)
def test_the_bridge_is_the_projectors_two_layers(imported, dtype, tolerance):
    w = {name.removeprefix("projector."): t.to(dtype) for name, t in weights().items()}
    hidden = points().to(dtype) @ w["projector.0.weight"].T + w["projector.0.bias"]
    hidden = torch.nn.functional.gelu(hidden)
    expected = hidden @ w["projector.2.weight"].T + w["projector.2.bias"]
    found = Bridge.from_pretrained(imported.bridge)(points())[:, 0]
    assert (found - expected).norm() <= tolerance * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_weights_of_another_precision_are_not_rounded(tmp_path, dtype):
    done = import_xrag(str(tiny_xrag(tmp_path / "in", dtype)), tmp_path / "out", log=quiet)
    stored = load_file(done.bridge / "bridge.safetensors")
    for name, tensor in weights(dtype).items():
        if name in PROJECTOR:
            assert torch.equal(stored[name.removeprefix("projector.")], tensor)


def test_the_bridge_names_its_models_and_fits_them(imported, monkeypatch):
    config = imported.config
    assert Bridge.from_pretrained(imported.bridge).config == config
    assert config.llm_sha256 == locate_model(str(imported.llm)).sha256
    assert (config.encoder, config.encoder_sha256) == ("Salesforce/SFR-Embedding-Mistral", "")
    assert (config.llm, config.template) == ("xrag-tiny", TEMPLATE)
    assert (config.pooling, config.normalize, config.max_length) == ("last", False, 180)
    assert (config.encoder_dim, config.llm_hidden_size) == (RETRIEVER, HIDDEN)
    monkeypatch.chdir(imported.llm.parent.parent)
    paths = {"decoder.model": "./xrag/llm", "bridge.path": "./xrag/bridge"}
    assert check_models(load_config("xrag-7b", options=paths))["llm"]["sha256"] == config.llm_sha256


def test_the_preset_names_what_the_documented_command_writes(original, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    import_xrag(str(original), "xrag-7b", log=quiet)
    check_models(load_config("xrag-7b"))


@pytest.mark.parametrize("files", [1, 2])
def test_safetensors_give_the_same_as_pickle(imported, tmp_path, files):
    source = tiny_xrag_safetensors(tmp_path / "in", files)
    done = import_xrag(str(source), tmp_path / "out", log=quiet)
    assert len(list(done.llm.glob("*.safetensors"))) == files
    ids = torch.tensor([prompt_ids()])
    one, other = (AutoModelForCausalLM.from_pretrained(d.llm) for d in (done, imported))
    assert torch.equal(one(ids).logits, other(ids).logits)
    for name, tensor in load_file(imported.bridge / "bridge.safetensors").items():
        assert torch.equal(load_file(done.bridge / "bridge.safetensors")[name], tensor), name


def test_a_single_pickle_file_is_read(imported, broken, tmp_path):
    for name in (*SHARDS, INDEX):
        (broken / name).unlink()
    torch.save(weights(), broken / "pytorch_model.bin")
    done = import_xrag(str(broken), tmp_path / "out", log=quiet)
    assert (done.llm / "model.safetensors").exists()
    assert done.config.encoder_dim == RETRIEVER


def test_a_shard_of_nothing_but_the_projector_gives_none(broken, tmp_path):
    late = torch.load(broken / SHARDS[1], weights_only=True)
    own = {name: late.pop(name) for name in PROJECTOR}
    torch.save(late, broken / SHARDS[1])
    torch.save(own, broken / "pytorch_model-00003-of-00003.bin")
    index = json.loads((broken / INDEX).read_text())["weight_map"]
    index |= dict.fromkeys(PROJECTOR, "pytorch_model-00003-of-00003.bin")
    write_json(broken / INDEX, {"weight_map": index})
    done = import_xrag(str(broken), tmp_path / "out", log=quiet)
    assert len(list(done.llm.glob("*.safetensors"))) == 2


def test_weights_that_share_storage_and_needless_ones_are_no_hindrance(broken, tmp_path):
    first = torch.load(broken / SHARDS[0], weights_only=True)
    norm = "model.layers.0.input_layernorm.weight"
    pair = torch.stack([first[norm], first[norm]])
    first |= {norm: pair[0], "model.layers.0.post_attention_layernorm.weight": pair[1]}
    first["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(16)
    torch.save(first, broken / SHARDS[0])
    index = json.loads((broken / INDEX).read_text())["weight_map"]
    write_json(broken / INDEX, {"weight_map": index | dict.fromkeys(first, SHARDS[0])})
    done = import_xrag(str(broken), tmp_path / "out", log=quiet)
    _, report = AutoModelForCausalLM.from_pretrained(done.llm, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]


def test_a_fast_tokenizers_own_file_is_read_as_it_is(broken, tmp_path):
    from tokenizers import Tokenizer, normalizers

    # As transformers 4 wrote it: the leading space is put before each side of a token.
    fast = Tokenizer.from_str(AutoTokenizer.from_pretrained(broken).backend_tokenizer.to_str())
    fast.pre_tokenizer = None
    fast.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    written = json.loads(fast.to_str())
    for token in written["added_tokens"]:
        token["normalized"] = False
    write_json(broken / "tokenizer.json", written)
    (broken / "tokenizer.model").unlink()
    done = import_xrag(str(broken), tmp_path / "out", log=quiet)
    bridge = Bridge.from_pretrained(done.bridge)
    table = weights()["model.embed_tokens.weight"].float()
    assert torch.equal(bridge.before, table[prompt_ids()[: at_xrag()]])
    assert torch.equal(bridge.after, table[prompt_ids()[at_xrag() + 1 :]])


@pytest.fixture(scope="module")
def decoder_encoder(tmp_path_factory) -> Path:
    """As SFR-Embedding-Mistral: a Mistral without a head whose tokenizer appends ``</s>``."""
    directory = tmp_path_factory.mktemp("models") / "sfr-tiny"
    llama_tokenizer(directory, add_eos_token=True)
    change(directory / "tokenizer_config.json", pad_token="</s>", padding_side="left")
    torch.manual_seed(3)
    keys = CONFIG | {"hidden_size": RETRIEVER, "initializer_range": 0.2}
    MistralModel(MistralConfig.from_dict(keys)).save_pretrained(directory)
    return directory


def test_an_encoder_at_hand_is_known_by_its_weights(original, decoder_encoder, tmp_path):
    done = import_xrag(str(original), tmp_path / "out", encoder=str(decoder_encoder), log=quiet)
    assert done.config.encoder_sha256 == locate_model(str(decoder_encoder)).sha256 != ""
    paths = {
        "encoder.model": str(decoder_encoder),
        "decoder.model": str(done.llm),
        "bridge.path": str(done.bridge),
    }
    check_models(load_config("xrag-7b", options=paths))


def test_an_encoder_of_another_width_is_refused(original, imported, tmp_path):
    message = refusal(original, tmp_path / "out", encoder=str(imported.llm))
    assert f"is {HIDDEN}-dimensional, but the projector of xrag-tiny expects" in message


@pytest.mark.parametrize("max_length", [180, 6])
def test_the_encoder_reads_the_end_token_of_each_text(decoder_encoder, max_length):
    """As SFR in xRAG's code: left padding, the last position, no scaling to length 1."""
    texts = ["the corn", "Wheat exports rose by ten per cent this year.", "ship"]
    encoder = Encoder(
        str(decoder_encoder), pooling="last", normalize=False, max_length=max_length, device="cpu"
    )
    found = encoder.encode(texts, batch_size=3)
    tokenizer = AutoTokenizer.from_pretrained(decoder_encoder)
    model = MistralModel.from_pretrained(decoder_encoder).eval()
    batch = tokenizer(
        texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt"
    )
    assert tokenizer.padding_side == "left" and (batch["input_ids"][:, -1] == 2).all()
    with torch.no_grad():
        expected = model(**batch).last_hidden_state[:, -1].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.linalg.norm(found, axis=1).min() > 1.5


@pytest.fixture(scope="module")
def real(imported, tmp_path_factory) -> dict[str, list]:
    """What real_xrag.py found, in a process of its own: vLLM keeps global state."""
    found = tmp_path_factory.mktemp("found") / "found.json"
    script = Path(__file__).parents[1] / "support" / "real_xrag.py"
    done = subprocess.run(
        [sys.executable, str(script), str(imported.llm.parent), str(found)],
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(found.read_text())


@pytest.mark.slow
def test_vllm_says_token_by_token_what_the_original_says(real):
    assert real["tokens"] == real["transformers"]
    assert len({tuple(tokens) for tokens in real["tokens"]}) == len(real["tokens"]) == 5


@pytest.mark.slow
def test_the_decoder_gives_the_text_of_these_tokens(real, imported):
    tokenizer = AutoTokenizer.from_pretrained(imported.llm)
    assert real["errors"] == [""] * 5
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    for text, number, whole in zip(real["texts"], real["num_tokens"], real["tokens"], strict=True):
        end = next((i for i, token in enumerate(whole) if token in special), len(whole))
        tokens = whole[: end + 1]  # a special token ends a text
        assert number == len(tokens)
        assert text == tokenizer.decode(tokens, skip_special_tokens=True).strip()
