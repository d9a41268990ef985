"""LoRA on the LLM: optional trainable layers in addition to a bridge's soft tokens.

Low-rank updates of the LLM's linear layers (Hu et al., 2021, arXiv:2106.09685), by peft. They are
stored next to the bridge's weights in peft's format, which vLLM reads too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE
from smotext_ray.models.checkpoint_rewrite import rewrite

ALPHA_OF_RANK = 2  # LoRA's alpha as a multiple of the rank: updates are scaled by it
# peft's names of the weights, and the peft settings with which an update is not just B @ A * alpha
# / r.
PEFT_PREFIX, LORA_A, LORA_B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
NOT_PLAIN = (
    *("use_dora", "use_rslora", "lora_bias", "rank_pattern", "alpha_pattern"),
    *("modules_to_save", "layer_replication", "target_parameters"),
)


@dataclass(frozen=True)
class PlainLora:
    """LoRA layers whose updates are just B @ A, times a scale.

    Attributes
    ----------
    weights : dict of str to Tensor
        Keyed by peft's names: A of shape (r, inputs) and B of shape (outputs, r) for each layer.
    names : list of str
        Names of the layers, without the endings ``LORA_A`` and ``LORA_B``.
    scale : float
        lora_alpha / r.
    transposed : bool
        Whether the LLM stores its weights as (inputs, outputs).
    """

    weights: dict[str, torch.Tensor]
    names: list[str]
    scale: float
    transposed: bool


class Adapter(nn.Module):
    """The LoRA layers of an LLM, added to it in place.

    Parameters
    ----------
    llm : PreTrainedModel
        The LLM; its own weights are frozen.
    llm_name : str
        The model's name, saved with the weights.
    rank : int
        0: no layers, and the LLM is unchanged.

    Attributes
    ----------
    weights : ParameterList
        The trainable weights, float32; empty at rank 0.
    """

    def __init__(self, llm: Any, llm_name: str, rank: int) -> None:
        super().__init__()
        self._dtype = llm.dtype
        self._layers: list[Any] = []
        self._peft: list[
            Any
        ] = []  # in a list, so that the LLM's weights do not become this module's
        if rank:
            self._add_layers(llm, llm_name, rank)
        self.weights = nn.ParameterList([w for w in llm.parameters() if w.requires_grad])

    def _add_layers(self, llm: Any, llm_name: str, rank: int) -> None:
        from peft import LoraConfig, get_peft_model
        from peft.tuners.lora import LoraLayer

        config = LoraConfig(
            r=rank,
            lora_alpha=ALPHA_OF_RANK * rank,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        self._peft = [get_peft_model(llm, config)]
        config.base_model_name_or_path = llm_name  # rather than a path on this machine
        config.target_modules = sorted(config.target_modules or [])  # a set has no fixed order
        self._layers = [module for module in llm.modules() if isinstance(module, LoraLayer)]
        for layer in self._layers:
            layer.cast_input_dtype_enabled = False  # autocast does the same at half the cost

    @contextmanager
    def computing(self, active: bool = True) -> Iterator[None]:
        """Run the LLM with or without these layers during a ``with`` block."""
        if not self._layers:
            yield
            return
        for layer in self._layers:
            layer._disable_adapters = not active  # peft's setter would also freeze them
        try:
            halved = active and self._dtype == torch.bfloat16
            with torch.autocast(self.weights[0].device.type, torch.bfloat16, enabled=halved):
                yield
        finally:
            for layer in self._layers:
                layer._disable_adapters = False

    def save(self, directory: Path) -> None:
        """Write the layers (bfloat16) and their config next to a bridge's files."""
        if not self._layers:
            return
        from peft import get_peft_model_state_dict

        model = self._peft[0]
        model.peft_config["default"].save_pretrained(directory)
        weights = get_peft_model_state_dict(model, save_embedding_layers=False)
        save_file(
            {k: v.detach().to(torch.bfloat16).cpu().contiguous() for k, v in weights.items()},
            directory / ADAPTER_WEIGHTS_FILE,
        )

    @torch.no_grad()
    def widen(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load float32 weights of the same or a lower rank, keyed by their number as a string."""
        for number, own in enumerate(self.weights):
            own.copy_(_widened(weights[str(number)], own))

    def load(self, directory: Path) -> None:
        """Load the layers' weights from a bridge's directory.

        They may have a lower rank: additional ranks start as no-ops, as new layers do.

        Raises
        ------
        UserError
            If they are missing, have a higher rank, or belong to another LLM.
        """
        if not self._layers:
            return
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        model = self._peft[0]
        try:
            weights = load_file(directory / ADAPTER_WEIGHTS_FILE)
            own = get_peft_model_state_dict(model, save_embedding_layers=False)
            fits = weights.keys() == own.keys()
            if fits:
                weights = {name: _widened(weights[name], own[name]) for name in own}
            set_peft_model_state_dict(model, weights)
        except Exception as error:
            raise _unfit(directory, f"{type(error).__name__}: {error}") from error
        if not fits:
            raise _unfit(directory, "they belong to other layers")


def _widened(weight: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """``own`` with ``weight`` in place of its first ranks: rows of A, columns of B."""
    if all(then != now for then, now in zip(weight.shape, own.shape, strict=True)):
        raise ValueError("they have other widths")
    wide = own.detach().clone()
    wide[: weight.shape[0], : weight.shape[1]] = weight
    return wide


def _unfit(directory: Path, why: str) -> UserError:
    return UserError(
        f"The LoRA weights in {directory} do not fit the LLM ({why[:200]}); train or copy the "
        "bridge again."
    )


def merge(llm: str, bridge: Path, output: Path) -> None:
    """Write a checkpoint of the LLM with a bridge's LoRA layers added to its weights.

    Same sums as peft's merge in float32, rounded to bfloat16 once, but weight by weight: a 7B LLM
    takes a few GB of memory instead of 28.

    Parameters
    ----------
    llm : str
        Directory or hub name of the LLM.
    bridge, output : Path
        Directories.

    Raises
    ------
    UserError
        If the layers are missing or do not fit the LLM.
    """
    updates = _updates(read_plain_lora(bridge))

    def change(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        if name in updates:
            update = updates.pop(name)()
            if update.shape != weight.shape:
                raise _unfit(bridge, f"{name} has shape {tuple(weight.shape)}")
            weight = update.add_(weight.float())
        return {name: weight.to(torch.bfloat16) if weight.is_floating_point() else weight}

    rewrite(llm, output, change)
    if updates:
        raise _unfit(bridge, f"the LLM has no {next(iter(updates))}")


def read_plain_lora(directory: Path) -> PlainLora:
    """The LoRA layers of a bridge.

    Raises
    ------
    UserError
        If they are missing or damaged, or one of their updates is not just B @ A * alpha / r.
    """
    try:
        config = json.loads((directory / ADAPTER_CONFIG_FILE).read_text())
        if config.get("bias", "none") != "none" or any(map(config.get, NOT_PLAIN)):
            raise ValueError("they use more than plain LoRA")
        scale = float(config["lora_alpha"] / config["r"])
        weights = load_file(directory / ADAPTER_WEIGHTS_FILE)
        names = [key.removesuffix(LORA_A) for key in weights if key.endswith(LORA_A)]
        if {name + end for name in names for end in (LORA_A, LORA_B)} != weights.keys():
            raise ValueError("they use more than plain LoRA")
    except Exception as error:
        raise _unfit(directory, f"{type(error).__name__}: {error}") from error
    return PlainLora(weights, names, scale, bool(config.get("fan_in_fan_out")))


def _updates(lora: PlainLora) -> dict[str, Callable[[], torch.Tensor]]:
    """The update of each of the LLM's weights, computed on demand."""

    def update(name: str) -> torch.Tensor:
        product = lora.weights[name + LORA_B].float() @ lora.weights[name + LORA_A].float()
        # In place, here and above: allocating memory takes most of the time.
        return (product.T if lora.transposed else product).mul_(lora.scale)

    return {
        f"{name.removeprefix(PEFT_PREFIX)}.weight": partial(update, name) for name in lora.names
    }
