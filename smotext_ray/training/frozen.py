"""The frozen encoder and LLM of a training, and the LLM's losses for prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from smotext_ray.errors import UserError
from smotext_ray.models.bridge import Bridge
from smotext_ray.models.bridge_config import BridgeConfig
from smotext_ray.models.encoder import Encoder, default_device, fastest_dtype
from smotext_ray.models.files import bridge_directory, locate_model
from smotext_ray.models.lora import Adapter
from smotext_ray.models.pretrained import load_pretrained
from smotext_ray.models.prompts import template_token_ids
from smotext_ray.training.state import averaged_weights

if TYPE_CHECKING:
    from smotext_ray.training.config import TrainConfig


Around = tuple[torch.Tensor, torch.Tensor]  # the LLM's embeddings before and after


@dataclass
class Batch:
    """Texts prepared for the LLM.

    Attributes
    ----------
    embeddings : Tensor of shape (n, encoder_dim)
    ids : Tensor of shape (n, length)
        Target tokens; -1 past a text's end.
    styles : Tensor of shape (n, SIZE), or None
        What the texts look like; see `smotext_ray.models.style`. None in stage 2.
    partial_styles : Tensor of shape (n, SIZE), or None
        In stage 1, the styles given in training: zeros for some texts.
    around, backgrounds : lists of length n
        In stage 2, each row's instruction around the soft tokens, and the background tokens that
        they replace; as input embeddings of the LLM.
    """

    embeddings: torch.Tensor
    ids: torch.Tensor
    styles: torch.Tensor | None = None
    partial_styles: torch.Tensor | None = None
    around: list[Around] = field(default_factory=list)
    backgrounds: list[torch.Tensor] = field(default_factory=list)


class FrozenModels:
    """The encoder and the LLM that the bridge is trained for.

    Parameters
    ----------
    config : TrainConfig
    compile_llm : bool, default=False
        Train with ``torch.compile``: takes minutes to start, then steps are faster.

    Attributes
    ----------
    encoder_dim : int
        Embedding dimension, known without loading the encoder.
    encoder : Encoder
        Loaded on first use.
    adapter : Adapter
        The LLM's LoRA layers, its only trainable part; often none.
    template : pair of before, after
        The LLM's embeddings of the text around the soft tokens.
    head : Tensor of shape (vocabulary, hidden)
    dtype : torch.dtype
        The LLM's dtype; trainable weights are always float32.
    """

    def __init__(self, config: TrainConfig, compile_llm: bool = False) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        self.config = config
        self.encoder_files = locate_model(config.encoder)
        self.llm_files = locate_model(config.llm)
        self.device = default_device()
        self.encoder_dim = int(load_pretrained(AutoConfig, self.encoder_files.path).hidden_size)
        self.tokenizer: Any = load_pretrained(AutoTokenizer, self.llm_files.path)
        self.dtype: torch.dtype = getattr(torch, fastest_dtype(self.device))
        self.llm: Any = load_pretrained(
            AutoModelForCausalLM,
            self.llm_files.path,
            dtype=self.dtype,
            # On CPU the backward pass of fused attention is emulated in bfloat16; plain matrix
            # products were 1.3 times as fast at these short lengths.
            attn_implementation="eager" if self.device == "cpu" else "sdpa",
        )
        self.llm = self.llm.to(self.device).eval().requires_grad_(False)
        torch.manual_seed(config.seed)  # every worker starts with the same layers
        self.adapter = Adapter(self.llm, self.llm_files.name, config.lora_rank)
        if compile_llm:
            # Layer by layer: they are identical, so they share one compilation that takes seconds.
            for layer in self.llm.model.layers:
                layer.compile(dynamic=True)
        self.max_text_tokens = config.max_text_tokens
        self.head = self.llm.lm_head.weight
        self.template = self.around(template_token_ids(config.template, self.tokenizer))
        start = self.tokenizer.bos_token_id
        self.start = self._embed([self.tokenizer.eos_token_id if start is None else start])

    @cached_property
    def encoder(self) -> Encoder:
        return self.new_encoder(torch.float32)

    def new_encoder(self, dtype: torch.dtype) -> Encoder:
        """Load an encoder in ``dtype``; only the caller holds a reference."""
        return Encoder(
            self.encoder_files.path,
            pooling=self.config.pooling,
            normalize=self.config.normalize,
            max_length=self.config.max_length,
            device=self.device,
            dtype=str(dtype).removeprefix("torch."),
        )

    def new_bridge(self, config: TrainConfig) -> Bridge:
        """The initial bridge."""
        fresh = self._fresh_bridge(config)
        if config.start_from is None:
            return fresh
        directory = bridge_directory(config.start_from)
        start = Bridge.from_pretrained(directory)
        rank = start.config.lora_rank
        # New LoRA layers, additional ranks and a table of styles start as no-ops.
        wider = replace(start.config, lora_rank=config.lora_rank, has_style=True)
        if rank > config.lora_rank or wider != fresh.config:
            raise UserError(
                f"The bridge in {config.start_from} has other models or sizes than this training; "
                "give it the same encoder, LLM, soft tokens, width and template, and at least its "
                "LoRA rank."
            )
        start.config = fresh.config
        if start.style is None:
            start.style = fresh.style
        exact = averaged_weights(directory)
        if exact is not None:  # because the saved files are rounded to bfloat16
            start.load_state_dict(_of("bridge.", exact), strict=False)
        if rank:
            self.adapter.load(directory)
            if exact is not None:
                self.adapter.widen(_of("adapter.weights.", exact))
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
                lora_rank=config.lora_rank,
                has_style=True,
            ),
            config.scale_of_table * table.float().std().item(),
            *self.template,
        ).to(self.device)

    def batch(self, texts: Sequence[str], embeddings: np.ndarray | None = None) -> Batch:
        """Prepare texts for the LLM; each ends with the end token unless truncated.

        Parameters
        ----------
        texts : sequence of str, length n
        embeddings : ndarray of shape (n, encoder_dim), optional
            Embeddings of the texts, or replacements; computed by default.

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
            None: the plain LLM, without LoRA, gets only its start token.
        batch : Batch

        Returns
        -------
        Tensor of shape (tokens,), nats, float32
        """
        table = self.llm.get_input_embeddings()
        adapted = prompts is not None
        if prompts is None:
            prompts = self.start.expand(len(batch.ids), -1, -1)
        prompts = prompts.to(table.weight.dtype)
        inputs = torch.cat([prompts, table(batch.ids[:, :-1].clamp(min=0))], dim=1)
        # Padding is on the right, where causal attention never looks, so no mask is needed.
        with self.adapter.computing(adapted):
            hidden = self.llm.model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        real = batch.ids >= 0
        hidden = hidden[:, prompts.shape[1] - 1 :][real].to(table.weight.dtype)
        return TokenLoss.apply(hidden, self.head, batch.ids[real])

    def answers(
        self, prompts: Sequence[torch.Tensor], batch: Batch, adapted: bool = True
    ) -> torch.Tensor:
        """Hidden states that predict each token of the batch.

        Parameters
        ----------
        prompts : sequence of Tensors of shape (prompt_length, hidden), length n
            Lengths may differ.
        batch : Batch
        adapted : bool, default=True
            Use the LoRA layers, if any; False: the plain LLM.

        Returns
        -------
        Tensor of shape (tokens, hidden)
        """
        table = self.llm.get_input_embeddings()
        told = [ids[ids >= 0] for ids in batch.ids]
        rows = [torch.cat([p, table(ids[:-1])]) for p, ids in zip(prompts, told, strict=True)]
        inputs = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        with self.adapter.computing(adapted):
            hidden = self.llm.model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        ends = [h[len(p) - 1 : len(r)] for h, p, r in zip(hidden, prompts, rows, strict=True)]
        return torch.cat(ends).to(table.weight.dtype)

    def embed_texts(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """The LLM's embeddings of texts, truncated as in training; (length, hidden)."""
        rows = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return [self._embed(row[: self.max_text_tokens]) for row in rows]

    def around(self, ids: tuple[list[int], list[int]]) -> Around:
        """The LLM's embeddings of the tokens before and after the soft ones."""
        before, after = ids
        return self._embed(before), self._embed(after)

    def _embed(self, ids: list[int]) -> torch.Tensor:
        table = self.llm.get_input_embeddings()
        found: torch.Tensor = table(torch.tensor(ids, dtype=torch.long, device=self.device))
        return found


def _of(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


class TokenLoss(torch.autograd.Function):
    """Loss of tokens under a frozen linear head, a few rows at a time.

    The head needs no gradient, so the gradient of ``hidden`` is computed in the forward pass, and
    the full [tokens, vocabulary] matrix is never in memory: on CPU it took a third of a step.
    """

    ROWS = 128
    ROWS_ON_GPU = 2048  # fewer would leave the GPU idle between chunks

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        head: torch.Tensor,
        ids: torch.Tensor,
        teacher: torch.Tensor | None = None,
        kl_weight: float = 0.0,
    ) -> torch.Tensor:
        """Negative log-likelihood; with a teacher's hidden states, plus a divergence.

        The divergence is ``kl_weight`` * KL(teacher || student) of the next token.
        """
        losses, gradients = [], []
        step = TokenLoss.ROWS_ON_GPU if hidden.is_cuda else TokenLoss.ROWS
        for start in range(0, len(ids), step):
            rows = slice(start, start + step)
            target = ids[rows]
            log_p = torch.log_softmax((hidden[rows] @ head.T).float(), dim=1)
            loss = -log_p.gather(1, target[:, None]).squeeze(1)
            if teacher is not None:
                log_q = torch.log_softmax((teacher[rows] @ head.T).float(), dim=1)
                q = log_q.exp()
                loss = loss + kl_weight * (q * (log_q - log_p)).sum(1)
            losses.append(loss)
            if not ctx.needs_input_grad[0]:
                continue
            gradient = log_p.exp()
            if teacher is not None:
                gradient = gradient * (1 + kl_weight) - kl_weight * q
            gradient[torch.arange(len(target)), target] -= 1.0
            gradients.append(gradient.to(head.dtype) @ head)
        if gradients:
            ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (of_hidden,) = ctx.saved_tensors
        return (of_hidden * grad[:, None]).to(of_hidden.dtype), None, None, None, None
