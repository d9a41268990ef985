"""The two frozen models between which a bridge is trained, and the LLM's loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smotext_ray.bridge.config import BridgeConfig
from smotext_ray.bridge.projector import Bridge
from smotext_ray.bridge.prompt import template_token_ids
from smotext_ray.encoder import Encoder
from smotext_ray.errors import UserError
from smotext_ray.models import bridge_directory, locate_model

if TYPE_CHECKING:
    from smotext_ray.bridge.train import TrainConfig


@dataclass
class Batch:
    """Texts ready for the LLM: ids of shape (n, length), -1 past a text's end."""

    embeddings: torch.Tensor
    ids: torch.Tensor


class FrozenModels:
    """The encoder and the LLM between which the bridge is trained.

    Parameters
    ----------
    config : TrainConfig
    compile_llm : bool, default=False
        Train through ``torch.compile``: minutes to start, then faster steps.

    Attributes
    ----------
    encoder_dim : int
        Length of an embedding, known without loading the encoder.
    encoder : Encoder
        Loaded on first use.
    """

    def __init__(self, config: TrainConfig, compile_llm: bool = False) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        self.config = config
        self.encoder_files = locate_model(config.encoder)
        self.llm_files = locate_model(config.llm)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.encoder_dim = int(AutoConfig.from_pretrained(self.encoder_files.path).hidden_size)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.llm_files.path)
        self.llm: Any = AutoModelForCausalLM.from_pretrained(
            self.llm_files.path,
            dtype=torch.bfloat16,
            # On CPU the fused attention's backward pass is emulated in bfloat16: plain
            # matrix products were 1.3 times as fast at these short lengths.
            attn_implementation="eager" if self.device == "cpu" else "sdpa",
        )
        self.llm = self.llm.to(self.device).eval().requires_grad_(False)
        body = self.llm.model
        self.training_body = torch.compile(body, dynamic=True) if compile_llm else body
        self.max_text_tokens = config.max_text_tokens
        table = self.llm.get_input_embeddings()
        before, after = template_token_ids(config.template, self.tokenizer)
        self.template = table(self._ids(before)), table(self._ids(after))
        start = self.tokenizer.bos_token_id
        self.start = table(self._ids([self.tokenizer.eos_token_id if start is None else start]))

    @cached_property
    def encoder(self) -> Encoder:
        return self.new_encoder()

    def new_encoder(self) -> Encoder:
        """Load an encoder that the caller alone holds."""
        return Encoder(
            self.encoder_files.path,
            pooling=self.config.pooling,
            normalize=self.config.normalize,
            max_length=self.config.max_length,
            device=self.device,
        )

    def new_bridge(self, config: TrainConfig) -> Bridge:
        """The bridge that training starts with."""
        fresh = self._fresh_bridge(config)
        if config.start_from is None:
            return fresh
        start = Bridge.from_pretrained(bridge_directory(config.start_from))
        if start.config != fresh.config:
            raise UserError(
                f"The bridge in {config.start_from} has other models or sizes than this training; "
                "give it the same encoder, LLM, soft tokens, width and template."
            )
        return start.to(self.device).train()

    def _fresh_bridge(self, config: TrainConfig) -> Bridge:
        torch.manual_seed(config.seed)
        table = self.llm.get_input_embeddings().weight
        return Bridge(
            BridgeConfig(
                encoder=self.encoder_files.name,
                encoder_sha256=self.encoder_files.sha256,
                encoder_dim=self.encoder_dim,
                pooling=config.pooling,
                normalize=config.normalize,
                max_length=config.max_length,
                llm=self.llm_files.name,
                llm_sha256=self.llm_files.sha256,
                llm_hidden_size=table.shape[1],
                soft_tokens=config.soft_tokens,
                projector_hidden_size=config.projector_hidden_size,
                input_scale=math.sqrt(self.encoder_dim) if config.normalize else 1.0,
                template=config.template,
            ),
            config.scale_of_table * table.float().std().item(),
            *self.template,
        ).to(self.device)

    def batch(self, texts: Sequence[str], embeddings: np.ndarray | None = None) -> Batch:
        """Texts for the LLM; each ends with its end token unless cut off.

        Parameters
        ----------
        texts : sequence of str, length n
        embeddings : ndarray of shape (n, encoder_dim), optional
            Those of the texts, or what is to stand for them; by default they are computed.

        Returns
        -------
        Batch
        """
        end = self.tokenizer.eos_token_id
        rows = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        rows = [[*row, end][: self.max_text_tokens] for row in rows]
        ids = torch.full((len(rows), max(map(len, rows))), -1)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
        if embeddings is None:
            embeddings = self.encoder.encode(texts, batch_size=len(texts))
        return Batch(torch.from_numpy(embeddings).to(self.device), ids.to(self.device))

    def nll(self, prompts: torch.Tensor | None, batch: Batch) -> torch.Tensor:
        """Negative log-likelihood of each token of the texts after the prompt.

        Parameters
        ----------
        prompts : Tensor of shape (n, prompt_length, hidden) or None
            None: the LLM gets its start token only, and no word of the text.
        batch : Batch

        Returns
        -------
        Tensor of shape (tokens,), nats, float32
        """
        table = self.llm.get_input_embeddings()
        if prompts is None:
            prompts = self.start.expand(len(batch.ids), -1, -1)
        prompts = prompts.to(table.weight.dtype)
        inputs = torch.cat([prompts, table(batch.ids[:, :-1].clamp(min=0))], dim=1)
        # Padding stands on the right, where causal attention never looks: no mask needed.
        body = self.training_body if torch.is_grad_enabled() else self.llm.model
        hidden = body(inputs_embeds=inputs, use_cache=False).last_hidden_state
        real = batch.ids >= 0
        return TokenNLL.apply(
            hidden[:, prompts.shape[1] - 1 :][real], self.llm.lm_head.weight, batch.ids[real]
        )

    def _ids(self, ids: list[int]) -> torch.Tensor:
        return torch.tensor(ids, dtype=torch.long, device=self.device)


class TokenNLL(torch.autograd.Function):
    """NLL of tokens under a frozen linear head, a few rows at a time.

    The head's weight needs no gradient, so that of ``hidden`` is formed at once, and the
    [tokens, vocabulary] matrix is never held whole: on CPU it cost a third of a step.
    """

    ROWS = 128

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, ids: torch.Tensor
    ) -> torch.Tensor:
        nll, gradients = [], []
        for h, target in zip(hidden.split(TokenNLL.ROWS), ids.split(TokenNLL.ROWS), strict=True):
            logits = (h @ head.T).float()
            logits -= logits.amax(1, keepdim=True)
            of_target = logits.gather(1, target[:, None]).squeeze(1)
            probabilities = logits.exp_()
            total = probabilities.sum(1, keepdim=True)
            nll.append(total.squeeze(1).log() - of_target)
            probabilities /= total
            probabilities[torch.arange(len(target)), target] -= 1.0
            gradients.append(probabilities.to(head.dtype) @ head)
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(nll)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (of_hidden,) = ctx.saved_tensors
        return (of_hidden * grad[:, None]).to(of_hidden.dtype), None, None
