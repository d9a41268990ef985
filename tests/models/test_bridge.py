"""The bridge is xRAG's projector, and what is saved is what is loaded."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from smotext_ray.errors import UserError
from smotext_ray.models.bridge import Bridge
from smotext_ray.models.bridge_config import BridgeConfig, check_weights, read_bridge_config
from smotext_ray.models.style import SIZE

CONFIG = BridgeConfig(
    encoder="an-encoder",
    encoder_sha256="abc",
    encoder_dim=5,
    pooling="mean",
    normalize=True,
    max_length=128,
    llm="an-llm",
    llm_sha256="def",
    llm_hidden_size=7,
    soft_tokens=3,
    projector_hidden_size=11,
    input_scale=2.0,
)


def points(n: int = 4) -> torch.Tensor:
    return torch.randn(n, CONFIG.encoder_dim, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("n", [0, 1, 4])
@pytest.mark.parametrize("soft_tokens", [1, 3])
def test_a_point_becomes_k_soft_tokens(n, soft_tokens):
    bridge = Bridge(replace(CONFIG, soft_tokens=soft_tokens))
    assert bridge(points(n)).shape == (n, soft_tokens, 7)


def test_one_soft_token_is_xrags_two_layers():
    bridge = Bridge(replace(CONFIG, soft_tokens=1, input_scale=1.0))
    first, second = bridge.projector[0], bridge.projector[2]
    hidden = points() @ first.weight.T + first.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))  # GELU
    torch.testing.assert_close(bridge(points())[:, 0], hidden @ second.weight.T + second.bias)


def test_the_scales_stand_before_and_after_the_projector():
    bridge = Bridge(CONFIG, output_scale=0.25)
    expected = 0.25 * bridge.projector(2.0 * points())
    torch.testing.assert_close(bridge(points()).flatten(1), expected)
    assert bridge.output_scale.requires_grad


def test_soft_token_k_is_the_kth_slice_of_the_output():
    bridge = Bridge(CONFIG)
    flat = bridge.projector(2.0 * points())
    torch.testing.assert_close(bridge(points())[:, 1], flat[:, 7:14])


def test_the_template_stands_around_the_soft_tokens_of_every_point():
    before, after = torch.full((2, 7), 1.0), torch.full((1, 7), 2.0)
    bridge = Bridge(CONFIG, before=before, after=after)
    prompts = bridge.prompt_embeds(points())
    assert prompts.shape == (4, bridge.prompt_length, 7) == (4, 6, 7)
    for prompt, soft in zip(prompts, bridge(points()), strict=True):
        torch.testing.assert_close(prompt, torch.cat([before, soft, after]))


def test_without_a_template_the_prompt_is_the_soft_tokens():
    bridge = Bridge(CONFIG)
    assert bridge.prompt_length == 3
    torch.testing.assert_close(bridge.prompt_embeds(points()), bridge(points()))


def test_template_and_scale_come_back_from_a_file_within_bfloat16(tmp_path):
    torch.manual_seed(0)
    bridge = Bridge(CONFIG, 0.3, before=torch.randn(2, 7), after=torch.randn(1, 7))
    bridge.save_pretrained(tmp_path / "new")
    loaded = Bridge.from_pretrained(tmp_path / "new")
    assert loaded.config == CONFIG and not loaded.training
    for name, tensor in bridge.state_dict().items():
        exact = tensor.to(torch.bfloat16).float()
        assert torch.equal(loaded.state_dict()[name], exact), name
    torch.testing.assert_close(
        loaded.prompt_embeds(points()), bridge.prompt_embeds(points()), rtol=0.02, atol=0.02
    )


def test_a_saved_bridge_says_what_it_joins(tmp_path):
    Bridge(CONFIG).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == asdict(CONFIG)
    assert read_bridge_config(tmp_path) == CONFIG


def test_keys_of_a_later_version_are_passed_over(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(asdict(CONFIG) | {"later": 1}))
    assert read_bridge_config(tmp_path) == CONFIG


def test_the_shipped_bridge_loads():
    from smotext_ray.models.files import DEFAULT_BRIDGE

    bridge = Bridge.from_pretrained(DEFAULT_BRIDGE)
    prompts = bridge.prompt_embeds(torch.zeros(1, 384))
    assert prompts.shape == (1, bridge.prompt_length, 576) and prompts.isfinite().all()


def refused(directory) -> str:
    with pytest.raises(UserError) as caught:
        Bridge.from_pretrained(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_empty_directory_is_no_bridge(tmp_path):
    assert "config.json is missing" in refused(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", "\x00", '{"encoder": "only"}'])
def test_a_config_that_describes_no_bridge_is_refused(tmp_path, content):
    Bridge(CONFIG).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(content)
    assert "config.json does not describe a bridge" in refused(tmp_path)


def test_weights_that_are_not_there_are_refused(tmp_path):
    Bridge(CONFIG).save_pretrained(tmp_path)
    (tmp_path / "bridge.safetensors").unlink()
    assert "bridge.safetensors is missing, damaged" in refused(tmp_path)


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
def test_weights_that_are_cut_short_are_refused(tmp_path, kept):
    Bridge(CONFIG).save_pretrained(tmp_path)
    file = tmp_path / "bridge.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert "does not load" in refused(tmp_path)


@pytest.mark.parametrize("field", ["encoder_dim", "soft_tokens", "llm_hidden_size"])
def test_weights_of_another_shape_than_the_config_names_are_refused(tmp_path, field):
    Bridge(CONFIG).save_pretrained(tmp_path)
    other = asdict(CONFIG) | {field: getattr(CONFIG, field) + 1}
    (tmp_path / "config.json").write_text(json.dumps(other))
    assert "does not match" in refused(tmp_path)


def test_weights_without_the_template_are_refused(tmp_path):
    Bridge(CONFIG).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "bridge.safetensors")
    del weights["before"]
    save_file(weights, tmp_path / "bridge.safetensors")
    assert "KeyError" in refused(tmp_path)


STYLED = replace(CONFIG, has_style=True)


def test_a_style_moves_the_soft_tokens_by_its_rows():
    bridge = Bridge(STYLED, output_scale=0.5)
    styles = torch.zeros(4, SIZE)
    styles[1, 2], styles[1, -1], styles[2, 0] = 0.25, 1.0, 1.0
    torch.testing.assert_close(bridge(points(), styles), bridge(points()))  # as long as untrained
    torch.nn.init.normal_(bridge.style)
    moved = ((bridge(points(), styles) - bridge(points())) / 0.5).flatten(1)
    expected = torch.stack(
        [0 * bridge.style[0], 0.25 * bridge.style[2] + bridge.style[-1], bridge.style[0]]
    )
    torch.testing.assert_close(moved[:3], expected, rtol=1e-4, atol=1e-5)
    assert not moved[3].any()


def test_a_bridge_without_styles_passes_them_over():
    bridge = Bridge(CONFIG)
    assert bridge.style is None and "style" not in bridge.state_dict()
    styles = torch.ones(4, SIZE)
    torch.testing.assert_close(bridge.prompt_embeds(points(), styles), bridge(points()))


def test_styles_come_back_from_a_file(tmp_path):
    bridge = Bridge(STYLED)
    torch.nn.init.ones_(bridge.style)
    bridge.save_pretrained(tmp_path)
    check_weights(tmp_path, STYLED)
    loaded = Bridge.from_pretrained(tmp_path)
    assert loaded.config.has_style and torch.equal(loaded.style, bridge.style)
    Bridge(CONFIG).save_pretrained(tmp_path / "without")
    with pytest.raises(UserError, match="style"):
        check_weights(tmp_path / "without", STYLED)
