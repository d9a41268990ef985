"""What an import of xRAG refuses, and what it leaves behind."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch
from imports_of_xrag import change, refusal
from tiny_training import quiet
from tiny_xrag import (
    INDEX,
    PROJECTOR,
    SHARDS,
    tiny_xrag_safetensors,
    write_json,
)

from smotext_ray.errors import UserError
from smotext_ray.training import xrag as module
from smotext_ray.training.xrag import import_xrag


def test_progress_is_told_a_line_a_shard(original, tmp_path):
    lines = []
    import_xrag(str(original), tmp_path / "new" / "out", log=lines.append)
    assert lines == [f"shard {n} of 2: {file}" for n, file in enumerate(SHARDS, start=1)]


def test_an_output_that_is_there_is_refused(original, tmp_path):
    assert "already exists" in refusal(original, tmp_path)


def test_a_killed_import_leaves_no_output(original, tmp_path, monkeypatch):
    def die(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_write_bridge", die)
    with pytest.raises(KeyboardInterrupt):
        import_xrag(str(original), tmp_path / "out", log=quiet)
    assert list(tmp_path.iterdir()) == []


def test_no_room_is_told_before_anything_is_written(original, tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    assert "free up space" in refusal(original, tmp_path / "out")


def test_an_output_under_a_file_is_refused(original, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        import_xrag(str(original), tmp_path / "file" / "out", log=quiet)


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path):
    message = refusal("Hannibal046/xrag-7b", tmp_path / "out")
    assert message.startswith(
        "Hannibal046/xrag-7b is not a directory here and cannot be downloaded"
    )


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/no-such-directory"])
def test_a_path_that_is_not_there_is_not_looked_for_on_a_hub(tmp_path, name):
    assert "is not a directory; give" in refusal(name, tmp_path / "out")


def test_a_directory_without_a_model_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    assert "has no model (config.json is missing)" in refusal(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "said"), [("{", "cannot be read as JSON"), ("[]", "is not a JSON object")]
)
def test_a_config_that_is_not_json_is_refused(broken, tmp_path, content, said):
    (broken / "config.json").write_text(content)
    assert f"config.json {said}" in refusal(broken, tmp_path / "out")


def test_a_plain_mistral_is_no_xrag_checkpoint(imported, tmp_path):
    assert "is not an xRAG checkpoint" in refusal(imported.llm, tmp_path / "out")


def test_an_xrag_config_over_weights_without_a_projector_is_refused(broken, tmp_path):
    index = json.loads((broken / INDEX).read_text())["weight_map"]
    rest = {name: file for name, file in index.items() if name not in PROJECTOR}
    write_json(broken / INDEX, {"weight_map": rest})
    assert "its weights have no projector" in refusal(broken, tmp_path / "out")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"model_type": "mixtral"}, "built on mixtral; only xRAG on Mistral can be imported"),
        ({"projector_type": "mlp3x_gelu"}, "is of type mlp3x_gelu; only mlp2x_gelu"),
        ({"num_hidden_layers": 3}, "lacks 9 weights"),
        ({"num_hidden_layers": 1}, "has 9 weights"),
        ({"retriever_hidden_size": 47}, r"not (64, 47) as in config.json"),
        ({"vocab_size": 400}, r"not (400, 64) as in config.json"),
        ({"vocab_size": 300}, "tokens past the 300"),
        ({"num_attention_heads": "two"}, "does not describe a Mistral"),
    ],
)
def test_a_config_that_the_import_cannot_follow_is_refused(broken, tmp_path, keys, said):
    change(broken / "config.json", **keys)
    assert said in refusal(broken, tmp_path / "out")


@pytest.mark.parametrize("shard", SHARDS)
def test_a_missing_shard_is_named(broken, tmp_path, shard):
    (broken / shard).unlink()
    assert f"The shard {shard} that {INDEX} names is missing" in refusal(broken, tmp_path / "out")


def test_an_index_does_not_lead_out_of_the_checkpoint(broken, tmp_path):
    shutil.copy(broken / SHARDS[0], tmp_path / "outside.bin")
    index = json.loads((broken / INDEX).read_text())["weight_map"]
    index["model.norm.weight"] = "../outside.bin"
    write_json(broken / INDEX, {"weight_map": index})
    assert "../outside.bin" in refusal(broken, tmp_path / "out")


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": []}])
def test_an_index_of_nothing_is_refused(broken, tmp_path, index):
    write_json(broken / INDEX, index)
    assert "lists no weights" in refusal(broken, tmp_path / "out")


def test_a_checkpoint_without_weights_is_refused(broken, tmp_path):
    for name in (*SHARDS, INDEX):
        (broken / name).unlink()
    assert "has no weights" in refusal(broken, tmp_path / "out")


@pytest.mark.parametrize("left", [0, 100, 5000])
def test_a_shard_that_is_cut_off_is_damaged(broken, tmp_path, left):
    (broken / SHARDS[1]).write_bytes((broken / SHARDS[1]).read_bytes()[:left])
    assert f"{SHARDS[1]} cannot be read" in refusal(broken, tmp_path / "out")


def test_safetensors_that_are_cut_off_are_damaged(tmp_path):
    source = tiny_xrag_safetensors(tmp_path / "in")
    file = source / "model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert f"{file.name} cannot be read" in refusal(source, tmp_path / "out")


def test_a_shard_that_lacks_a_weight_of_the_index_is_refused(broken, tmp_path):
    late = torch.load(broken / SHARDS[1], weights_only=True)
    del late["lm_head.weight"]
    torch.save(late, broken / SHARDS[1])
    assert "lm_head.weight in" in refusal(broken, tmp_path / "out")


class Payload:
    """What a pickle may hold if one lets it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_but_tensors_is_ever_unpickled(broken, tmp_path, zipped):
    target, shard = tmp_path / "payload-has-run", broken / SHARDS[1]
    late = torch.load(shard, weights_only=True) | {"lm_head.weight": Payload(target)}
    if zipped:
        torch.save(late, shard)
    else:
        shard.write_bytes(pickle.dumps(late["lm_head.weight"], protocol=2))
    message = refusal(broken, tmp_path / "out")
    assert "contains more than tensors" in message and "weights_only" not in message
    assert not target.exists()


@pytest.mark.parametrize("content", [[1, 2], {"model.norm.weight": 3.0}, torch.ones(2)])
def test_a_shard_of_something_else_is_refused(broken, tmp_path, content):
    torch.save(content, broken / SHARDS[1])
    assert f"{SHARDS[1]} cannot be read" in refusal(broken, tmp_path / "out")


@pytest.mark.parametrize("content", [None, b"", b"no tokenizer"])
def test_a_missing_or_damaged_tokenizer_is_refused(broken, tmp_path, content):
    file = broken / "tokenizer.model"
    file.unlink() if content is None else file.write_bytes(content)
    assert "has no xRAG tokenizer" in refusal(broken, tmp_path / "out")


def test_sentencepiece_that_is_not_installed_is_named(original, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    assert "pip install sentencepiece" in refusal(original, tmp_path / "out")
