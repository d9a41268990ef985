"""The average of bridges: its weights, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny_bridge, tiny_encoder, tiny_llm

from smotext_ray.cli.main import main
from smotext_ray.errors import UserError
from smotext_ray.models.bridge import Bridge
from smotext_ray.models.bridge_config import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE
from smotext_ray.training.soup import average_bridges, average_lora

RANK = 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A bridge with LoRA, and another one that was trained from it."""
    home = tmp_path_factory.mktemp("bridges")
    encoder, llm = tiny_encoder(home / "encoder"), tiny_llm(home / "llm")
    torch.manual_seed(0)
    one = tiny_bridge(home / "one", str(encoder), str(llm), lora_rank=RANK)
    other = home / "other"
    shutil.copytree(one, other)
    bridge = Bridge.from_pretrained(other)
    with torch.no_grad():
        for weight in bridge.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    bridge.save_pretrained(other)
    for directory in (one, other):
        file = directory / ADAPTER_WEIGHTS_FILE
        noise = {name: torch.randn_like(w) for name, w in load_file(file).items()}
        save_file(noise, file)
    return one, other


def updates(directory):
    """Each layer's update, B times A."""
    layers = load_file(directory / ADAPTER_WEIGHTS_FILE)
    return {
        name: layers[name.replace("lora_A", "lora_B")].double() @ layers[name].double()
        for name in layers
        if "lora_A" in name
    }


def test_projectors_are_averaged(trained, tmp_path, capsys):
    output = tmp_path / "new" / "average"
    assert main(["bridge", "average", *map(str, trained), f"--output={output}"]) == 0
    assert "Averaged 2 bridges" in capsys.readouterr().out
    one, other, average = (Bridge.from_pretrained(d).state_dict() for d in (*trained, output))
    for name, weight in average.items():
        torch.testing.assert_close(weight, (one[name] + other[name]) / 2, atol=0.01, rtol=0.01)


def test_the_update_is_the_nearest_one_of_its_rank_to_the_mean(trained, tmp_path):
    average_bridges([str(d) for d in trained], tmp_path / "average")
    one, other, average = map(updates, (*trained, tmp_path / "average"))
    for name, found in average.items():
        mean = (one[name] + other[name]) / 2
        missed = torch.linalg.svdvals(mean)[RANK:].norm()
        assert torch.linalg.matrix_rank(found, atol=0.1) <= RANK
        assert (found - mean).norm() == pytest.approx(float(missed), rel=0.02, abs=0.02)


def test_an_average_of_equal_layers_is_these_layers(trained):
    layers = {k: w.double() for k, w in load_file(trained[0] / ADAPTER_WEIGHTS_FILE).items()}
    averaged = average_lora([layers, layers, layers])
    for name in layers:
        if "lora_A" in name:
            other = name.replace("lora_A", "lora_B")
            product = averaged[other] @ averaged[name]
            torch.testing.assert_close(product, layers[other] @ layers[name])


def test_a_bridge_named_twice_weighs_twice_as_much(trained, tmp_path):
    one, other = map(str, trained)
    average_bridges([one, one, other], tmp_path / "average")
    first, second, found = (Bridge.from_pretrained(d).projector[0].weight for d in
                            (one, other, tmp_path / "average"))  # fmt: skip
    torch.testing.assert_close(found, (2 * first + second) / 3, atol=0.01, rtol=0.01)


def test_what_cannot_be_averaged_is_refused(trained, tmp_path):
    one, other = map(str, trained)
    with pytest.raises(UserError, match="at least two"):
        average_bridges([one], tmp_path / "average")
    with pytest.raises(UserError, match="exists"):
        average_bridges([one, other], trained[1])
    with pytest.raises(UserError, match="no bridge"):
        average_bridges([one, str(tmp_path)], tmp_path / "average")
    stranger = tmp_path / "stranger"
    shutil.copytree(one, stranger)
    Bridge(Bridge.from_pretrained(stranger).config).save_pretrained(stranger)
    with pytest.raises(UserError, match="separate trainings"):
        average_bridges([one, str(stranger)], tmp_path / "average")
    config = json.loads((stranger / "config.json").read_text())
    (stranger / "config.json").write_text(json.dumps(config | {"llm": "another"}))
    with pytest.raises(UserError, match="other models"):
        average_bridges([one, str(stranger)], tmp_path / "average")
    scaled = tmp_path / "scaled"
    shutil.copytree(other, scaled)
    adapter = json.loads((scaled / ADAPTER_CONFIG_FILE).read_text())
    (scaled / ADAPTER_CONFIG_FILE).write_text(json.dumps(adapter | {"lora_alpha": 99}))
    with pytest.raises(UserError, match="scales"):
        average_bridges([one, str(scaled)], tmp_path / "average")
    assert not (tmp_path / "average").exists()


def lacks_alpha(directory):
    config = json.loads((directory / ADAPTER_CONFIG_FILE).read_text())
    del config["lora_alpha"]
    (directory / ADAPTER_CONFIG_FILE).write_text(json.dumps(config))


def is_cut_short(directory):
    file = directory / ADAPTER_WEIGHTS_FILE
    file.write_bytes(file.read_bytes()[:-100])


def lacks_a_layer(directory):
    weights = load_file(directory / ADAPTER_WEIGHTS_FILE)
    layer = sorted(weights)[0].partition(".lora_")[0]
    left = {name: w for name, w in weights.items() if not name.startswith(layer + ".")}
    save_file(left, directory / ADAPTER_WEIGHTS_FILE)


@pytest.mark.parametrize("damage", [lacks_alpha, is_cut_short, lacks_a_layer])
def test_damaged_layers_end_in_one_sentence(trained, tmp_path, capsys, damage):
    one, other = trained
    damaged = tmp_path / "damaged"
    shutil.copytree(other, damaged)
    damage(damaged)
    output = tmp_path / "average"
    assert main(["bridge", "average", str(one), str(damaged), f"--output={output}"]) == 2
    told = capsys.readouterr().err.strip()
    assert "LoRA" in told and "Traceback" not in told and len(told.splitlines()) == 1
    assert not output.exists()


def test_a_bridge_without_styles_has_zeros(trained, tmp_path):
    one, styled = trained[0], tmp_path / "styled"
    shutil.copytree(one, styled)
    bridge = Bridge.from_pretrained(one)
    told = Bridge(replace(bridge.config, has_style=True))
    told.load_state_dict(bridge.state_dict(), strict=False)
    torch.nn.init.ones_(told.style)
    told.save_pretrained(styled)
    for order in ([one, one, styled], [styled, one, one]):
        average_bridges(list(map(str, order)), tmp_path / order[0].name / "average")
        found = Bridge.from_pretrained(tmp_path / order[0].name / "average")
        assert found.config == told.config
        third = torch.full_like(found.style, 1 / 3)
        torch.testing.assert_close(found.style, third, rtol=0.01, atol=0)
        torch.testing.assert_close(found.projector[0].weight, bridge.projector[0].weight)
