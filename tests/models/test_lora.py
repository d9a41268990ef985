"""LoRA on the LLM: it learns, it is saved with the bridge, and the LLM without it is as it was."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny_training import TEXTS, curve, last_state, quiet, tiny_config
from transformers import AutoModelForCausalLM, AutoTokenizer

from smotext_ray.errors import UserError
from smotext_ray.models import checkpoint_rewrite
from smotext_ray.models.bridge_config import check_weights, read_bridge_config
from smotext_ray.models.lora import Adapter, merge
from smotext_ray.training.config import TrainConfig
from smotext_ray.training.frozen import FrozenModels
from smotext_ray.training.train import train

RANK = 4


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    directory = tmp_path_factory.mktemp("models")
    return replace(tiny_config(directory), lora_rank=RANK, steps=40)


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    output = tmp_path_factory.mktemp("bridge")
    return train(TEXTS, config, output, log=quiet), output


def loss(config: TrainConfig, bridge, directory=None) -> float:
    """Of some texts, with the LoRA layers of a directory or with new ones."""
    frozen = FrozenModels(config)
    if directory:
        frozen.adapter.load(directory)
    batch = frozen.batch(TEXTS[:20])
    with torch.inference_mode():
        return frozen.nll(bridge.prompt_embeds(batch.embeddings), batch).mean().item()


def test_new_layers_change_nothing(config):
    bridge = FrozenModels(config).new_bridge(config)
    plain = replace(config, lora_rank=0)
    assert loss(config, bridge) == pytest.approx(loss(plain, bridge), rel=0.01)


def test_the_layers_learn_and_the_llm_beneath_does_not(config, trained):
    bridge, output = trained
    assert curve(output)[-1] < 0.7 * curve(output)[0]
    with_layers, without = loss(config, bridge, output), loss(config, bridge)
    assert with_layers < without - 0.1
    frozen, other = FrozenModels(config), FrozenModels(config)
    frozen.adapter.load(output)
    batch = frozen.batch(TEXTS[:8])
    assert torch.equal(frozen.nll(None, batch), other.nll(None, batch))


def test_they_learn_more_than_the_projector_alone(config, trained, tmp_path):
    train(TEXTS, replace(config, lora_rank=0), tmp_path, log=quiet)
    key = "held_out_matched"
    assert curve(trained[1], key)[-1] < curve(tmp_path, key)[-1]


def test_a_killed_training_goes_on_with_them_bit_by_bit(config, trained, tmp_path):
    class Killed(Exception):
        pass

    def kill(line):
        if line.startswith("step 30 "):
            raise Killed

    with pytest.raises(Killed):
        train(TEXTS, config, tmp_path, log=kill)
    train(TEXTS, config, tmp_path, log=quiet)
    one, other = last_state(tmp_path)["learned"], last_state(trained[1])["learned"]
    assert sum(name.startswith("adapter.") for name in one) == 2 * 7 * 2  # A and B, layers
    for name, tensor in other.items():
        assert torch.equal(one[name], tensor), name
    for file in ("adapter_model.safetensors", "adapter_config.json", "bridge.safetensors"):
        assert (tmp_path / file).read_bytes() == (trained[1] / file).read_bytes()


def test_training_goes_on_from_a_bridge_with_layers(config, trained, tmp_path):
    bridge, output = trained
    going_on = replace(config, start_from=str(output), steps=1, learning_rate=1e-9)
    again = train(TEXTS, going_on, tmp_path, log=quiet)
    assert loss(going_on, again, tmp_path) == pytest.approx(loss(config, bridge, output), rel=1e-3)


def test_a_bridge_without_layers_can_begin_to_have_them(config, tmp_path):
    plain = replace(config, lora_rank=0, steps=1)
    train(TEXTS, plain, tmp_path / "plain", log=quiet)
    config = replace(config, start_from=str(tmp_path / "plain"), steps=1)
    assert train(TEXTS, config, tmp_path / "lora", log=quiet).config.lora_rank == RANK


def test_a_lower_rank_than_the_bridges_is_refused(config, trained, tmp_path):
    other = replace(config, lora_rank=RANK - 1, start_from=str(trained[1]))
    with pytest.raises(UserError, match="LoRA rank"):
        train(TEXTS, other, tmp_path, log=quiet)


@pytest.mark.parametrize("with_state", [True, False])
def test_more_ranks_than_the_bridges_change_nothing_at_first(config, trained, tmp_path, with_state):
    start = tmp_path / "start"
    start.mkdir()
    for file in trained[1].glob("*.*"):
        if with_state or file.suffix != ".pt":
            (start / file.name).write_bytes(file.read_bytes())
    wider = replace(config, lora_rank=2 * RANK, start_from=str(start))
    frozen, own = FrozenModels(wider), FrozenModels(config)
    bridge = frozen.new_bridge(wider)
    own.adapter.load(start)
    exact = last_state(trained[1])["average"]
    for number, (wide, narrow) in enumerate(
        zip(frozen.adapter.weights, own.adapter.weights, strict=True)
    ):
        expected = exact[f"adapter.weights.{number}"] if with_state else narrow.cpu()
        rows, columns = expected.shape
        assert torch.equal(wide.detach()[:rows, :columns].cpu(), expected)
        rest = wide.detach().clone()
        rest[:rows, :columns] = 0
        if columns == RANK:  # B, of which the new columns are zero
            assert not rest.any()
        else:
            assert rest.any()
    assert bridge.config.lora_rank == 2 * RANK
    batch = own.batch(TEXTS[:8])
    with torch.inference_mode():
        prompts = bridge.prompt_embeds(batch.embeddings)
        torch.testing.assert_close(
            frozen.nll(prompts, batch), own.nll(prompts, batch), rtol=0.03, atol=0.03
        )


def test_merged_into_the_llm_they_do_what_they_do_apart_from_it(config, trained, tmp_path):
    bridge, output = trained
    merge(config.llm, output, tmp_path)
    merged = replace(config, llm=str(tmp_path), lora_rank=0)
    assert loss(merged, bridge) == pytest.approx(loss(config, bridge, output), rel=0.02)
    assert loss(merged, bridge) != pytest.approx(loss(config, bridge), rel=0.05)


def merged_by_peft(llm: str, bridge: Path, output: Path) -> Path:
    """The whole LLM in float32, each layer merged by peft, rounded once."""
    model = AutoModelForCausalLM.from_pretrained(llm, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, str(bridge)).merge_and_unload()
    merged.to(torch.bfloat16).save_pretrained(output)
    return output


def weights_in(directory: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in directory.glob("*.safetensors"):
        found |= load_file(file)
    return found


def other_format(llm: str, output: Path, how: str) -> str:
    """The same LLM with its weights in other files."""
    model = AutoModelForCausalLM.from_pretrained(llm)
    AutoTokenizer.from_pretrained(llm).save_pretrained(output)
    if how in ("bfloat16", "float16"):
        model.to(getattr(torch, how)).save_pretrained(output)
    elif how == "shards":
        model.save_pretrained(output, max_shard_size="20KB")
        assert len(list(output.glob("*.safetensors"))) > 2
    else:
        model.config.save_pretrained(output)
        weights = {name: tensor.bfloat16() for name, tensor in model.state_dict().items()}
        torch.save(weights, output / "pytorch_model.bin")
    return str(output)


@pytest.mark.parametrize("how", ["float32", "bfloat16", "float16", "shards", "pickle"])
def test_the_merge_is_that_of_peft_bit_by_bit(config, trained, tmp_path, how, monkeypatch):
    llm = config.llm if how == "float32" else other_format(config.llm, tmp_path / "llm", how)
    expected = weights_in(merged_by_peft(llm, trained[1], tmp_path / "peft"))
    (tmp_path / "merged").mkdir()

    def refuse(*given, **named):
        raise AssertionError("the whole LLM was loaded")

    with monkeypatch.context() as patch:
        patch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)
        merge(llm, trained[1], tmp_path / "merged")
    found = weights_in(tmp_path / "merged")
    assert expected.keys() <= found.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert all(tensor.dtype == torch.bfloat16 for tensor in found.values())
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert model.dtype == torch.bfloat16
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_a_config_of_a_stranger_imports_nothing(config, trained, tmp_path, monkeypatch):
    """peft would import these modules, which Python looks for in the working directory too."""
    bridge = tmp_path / "bridge"
    shutil.copytree(trained[1], bridge)
    file = bridge / "adapter_config.json"
    evil = {"megatron_core": "trap", "auto_mapping": {"parent_library": "trap"}}
    file.write_text(json.dumps(json.loads(file.read_text()) | evil | {"megatron_config": {"a": 1}}))
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for name, adapter in (("own", trained[1]), ("stranger", bridge)):
        (tmp_path / name).mkdir()
        merge(config.llm, adapter, tmp_path / name)
    assert "trap" not in sys.modules
    own, stranger = (weights_in(tmp_path / name) for name in ("own", "stranger"))
    assert all(torch.equal(own[name], stranger[name]) for name in own)


def test_a_merge_keeps_what_belongs_to_the_llm(config, trained, tmp_path):
    llm = tmp_path / "llm"
    shutil.copytree(config.llm, llm)
    (llm / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    (llm / "chat_template.jinja").write_text("{{ messages }}")
    (llm / "notes.md").write_text("mine")
    (tmp_path / "merged").mkdir()
    merge(str(llm), trained[1], tmp_path / "merged")
    names = {file.name for file in (tmp_path / "merged").iterdir()}
    assert names == {file.name for file in llm.iterdir()} - {"notes.md"}
    for name in names - {"model.safetensors", "config.json"}:
        assert (tmp_path / "merged" / name).read_bytes() == (llm / name).read_bytes()


def test_layers_that_do_not_fit_the_llm_are_not_merged(config, trained, tmp_path):
    other = tmp_path / "bridge"
    shutil.copytree(trained[1], other)
    layers = load_file(trained[1] / "adapter_model.safetensors")
    settings = json.loads((other / "adapter_config.json").read_text())
    renamed = {name.replace("layers.1.", "layers.9."): v for name, v in layers.items()}
    damaged = {
        "has no model.layers.9": renamed,
        "has shape": {k: v[:-1] if ".lora_B." in k else v for k, v in layers.items()},
        "more than plain LoRA": dict(list(layers.items())[1:]),
    }
    for message, changed in damaged.items():
        save_file(changed, other / "adapter_model.safetensors")
        refused(config.llm, other, tmp_path, rf"do not fit the LLM .*{message}")
    shutil.copyfile(trained[1] / "adapter_model.safetensors", other / "adapter_model.safetensors")
    for key, value in {"use_dora": True, "bias": "all", "alpha_pattern": {"q_proj": 2}}.items():
        (other / "adapter_config.json").write_text(json.dumps(settings | {key: value}))
        refused(config.llm, other, tmp_path, "more than plain LoRA")


def test_an_llm_whose_weights_cannot_be_added_to_is_refused(config, trained, tmp_path):
    llm = tmp_path / "llm"
    shutil.copytree(config.llm, llm)
    content = json.loads((llm / "config.json").read_text())
    (llm / "config.json").write_text(json.dumps(content | {"quantization_config": {}}))
    refused(str(llm), trained[1], tmp_path, "are quantized")
    (llm / "config.json").write_text(json.dumps(content))
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (llm / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(str(llm), trained[1], tmp_path, "lacks model-00001-of-00002.safetensors")
    (llm / "model.safetensors.index.json").unlink()
    (llm / "model.safetensors").unlink()
    refused(str(llm), trained[1], tmp_path, "has no weights")
    refused("nobody/no-such-llm", trained[1], tmp_path, "cannot be downloaded")


def refused(llm: str, bridge: Path, tmp_path: Path, message: str) -> None:
    output = Path(tempfile.mkdtemp(dir=tmp_path))
    with pytest.raises(UserError, match=message):
        merge(llm, bridge, output)


def test_a_large_checkpoint_is_written_in_shards(config, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_rewrite, "SHARD_BYTES", 10_000)
    (tmp_path / "merged").mkdir()
    merge(config.llm, trained[1], tmp_path / "merged")
    sizes = [file.stat().st_size for file in (tmp_path / "merged").glob("*.safetensors")]
    assert len(sizes) > 2 and max(sizes) < 25_000
    expected = weights_in(merged_by_peft(config.llm, trained[1], tmp_path / "peft"))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_they_are_saved_under_the_models_own_name(trained):
    saved = json.loads((trained[1] / "adapter_config.json").read_text())
    assert (saved["r"], saved["lora_alpha"]) == (RANK, 2 * RANK)
    assert saved["base_model_name_or_path"] == trained[0].config.llm


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_bridge_whose_layers_are_missing_is_refused(trained, tmp_path, name):
    for file in trained[1].glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = read_bridge_config(tmp_path)
    check_weights(tmp_path, config)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        check_weights(tmp_path, config)


def test_layers_of_another_rank_are_refused(config, trained):
    with pytest.raises(UserError, match=r"have rank 4, but .* says 8"):
        check_weights(trained[1], replace(read_bridge_config(trained[1]), lora_rank=8))
    llm = AutoModelForCausalLM.from_pretrained(config.llm).requires_grad_(False)
    with pytest.raises(UserError, match="do not fit the LLM"):
        Adapter(llm, "tiny", 2).load(trained[1])


def test_without_rank_there_are_no_layers(config):
    llm = AutoModelForCausalLM.from_pretrained(config.llm).requires_grad_(False)
    adapter = Adapter(llm, "tiny", 0)
    assert not list(adapter.parameters())
    with adapter.computing():
        assert not torch.is_autocast_enabled("cpu")
