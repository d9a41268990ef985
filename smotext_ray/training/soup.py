"""The average of the weights of several bridges: a model soup [1]_.

Bridges fine-tuned from one another lie in one basin of the loss, and their average is often better
than each of them, as with the default bridge (its card has the figures).

.. [1] Wortsman and others: Model soups: averaging weights of multiple fine-tuned models improves
   accuracy without increasing inference time. ICML 2022, arXiv:2203.05482.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from smotext_ray.errors import UserError
from smotext_ray.models.bridge import Bridge
from smotext_ray.models.bridge_config import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    BridgeConfig,
    check_weights,
    read_bridge_config,
)
from smotext_ray.models.files import bridge_directory
from smotext_ray.models.lora import LORA_A, LORA_B, read_plain_lora

# Cosine of two bridges' hidden weights: 0 for separate trainings, 0.98 after an hour of further
# training.
SAME_LINE = 0.5
Weights = Mapping[str, torch.Tensor]


def average_bridges(bridges: Sequence[str], output: Path) -> Path:
    """Write the average of bridges, each with the same weight.

    The projectors' weights are averaged, and their styles, which are zeros in a bridge without
    them. LoRA's updates of the LLM are averaged too, and reduced to their rank by a singular value
    decomposition.

    Parameters
    ----------
    bridges : sequence of str
        At least two: directories, hub names, or ``default``. One that is named twice has twice
        the weight.
    output : Path
        A new directory.

    Returns
    -------
    Path
        The output directory.

    Raises
    ------
    UserError
        If there are fewer than two bridges, they have different models or sizes, were not trained
        from one another, or the directory exists.
    """
    if len(bridges) < 2:
        raise UserError("Name at least two bridges to average.")
    if output.exists():
        raise UserError(f"{output} exists; name a new directory for the average.")
    directories = [bridge_directory(name) for name in bridges]
    config = _common_config(directories)
    adapters = _common_lora(directories) if config.lora_rank else []
    loaded = [Bridge.from_pretrained(each) for each in directories]
    projectors = [bridge.state_dict() for bridge in loaded]
    _check_one_line(bridges, projectors)
    soup = Bridge(config, before=loaded[0].before, after=loaded[0].after)
    soup.load_state_dict({name: _mean(name, projectors) for name in soup.state_dict()})
    output.mkdir(parents=True)
    if adapters:
        save_file(average_lora(adapters), output / ADAPTER_WEIGHTS_FILE)
        shutil.copy(directories[0] / ADAPTER_CONFIG_FILE, output)
    soup.save_pretrained(output)  # the config last: without it, this does not count as a bridge
    return output


def average_lora(adapters: Sequence[Weights]) -> dict[str, torch.Tensor]:
    """The adapter of the same rank r that is nearest to the mean of several adapters' updates.

    Parameters
    ----------
    adapters : sequence of mapping of str to Tensor
        peft's names; A of shape (r, inputs) and B of shape (outputs, r), whose product is a
        layer's update.

    Returns
    -------
    dict of str to Tensor
        With the same names and dtype.
    """
    averaged = {}
    for name in adapters[0]:
        if not name.endswith(LORA_A):
            continue
        other = name.removesuffix(LORA_A) + LORA_B
        # B1 A1 + B2 A2 is [B1 B2] times [A1; A2]: decomposed by their small factors alone.
        b = torch.cat([each[other].double() for each in adapters], dim=1) / len(adapters)
        a = torch.cat([each[name].double() for each in adapters], dim=0)
        left, b = torch.linalg.qr(b)
        right, a = torch.linalg.qr(a.T)
        u, sizes, v = torch.linalg.svd(b @ a.T)
        rank = adapters[0][name].shape[0]
        root = sizes[:rank].sqrt()
        averaged[name] = (right @ v.T[:, :rank] * root).T
        averaged[other] = left @ u[:, :rank] * root
    return {name: w.to(adapters[0][name].dtype).contiguous() for name, w in averaged.items()}


def _common_config(directories: Sequence[Path]) -> BridgeConfig:
    """The bridges' config; a bridge without styles may be averaged with one that has them."""
    configs = [read_bridge_config(directory) for directory in directories]
    first = replace(configs[0], has_style=any(config.has_style for config in configs))
    for directory, config in zip(directories, configs, strict=True):
        if replace(config, has_style=first.has_style) != first:
            raise UserError(
                f"The bridges in {directories[0]} and {directory} have other models or sizes; "
                "average bridges that were trained from one another."
            )
        check_weights(directory, config)
    return first


def _common_lora(directories: Sequence[Path]) -> list[Weights]:
    """Weights of the bridges' LoRA layers, which must have the same names and scale."""
    found = [read_plain_lora(directory) for directory in directories]
    if len({lora.scale for lora in found}) > 1:
        raise UserError("The bridges' LoRA layers have different scales (lora_alpha).")
    shapes = [{name: w.shape for name, w in lora.weights.items()} for lora in found]
    for directory, each in zip(directories, shapes, strict=True):
        if each != shapes[0]:
            raise UserError(
                f"The bridges in {directories[0]} and {directory} have other LoRA layers; "
                "average bridges that were trained from one another."
            )
    return [lora.weights for lora in found]


def _check_one_line(names: Sequence[str], projectors: Sequence[Weights]) -> None:
    first = projectors[0]["projector.0.weight"].flatten()
    for name, projector in zip(names, projectors, strict=True):
        other = projector["projector.0.weight"].flatten()
        if torch.cosine_similarity(first, other, dim=0) < SAME_LINE:
            raise UserError(
                f"The bridges {names[0]} and {name} come from separate trainings, whose average is "
                "useless; average bridges that were trained from one another (train-bridge --from)."
            )


def _mean(name: str, all_weights: Sequence[Weights]) -> torch.Tensor:
    # A bridge without styles is one whose styles are zeros.
    zeros = next(torch.zeros_like(weights[name]) for weights in all_weights if name in weights)
    return torch.stack([weights.get(name, zeros).float() for weights in all_weights]).mean(dim=0)
