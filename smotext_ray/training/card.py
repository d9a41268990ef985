"""The model card of a bridge: its models, usage, training and evaluation.

A README.md with front matter for the Hugging Face hub, built from the output of training and of
``smotext bridge eval --json``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import SOFT_PLACEHOLDER, BridgeConfig, read_bridge_config
from smotext_ray.training.config import COSINE, METRICS_FILE
from smotext_ray.training.evaluate import Evaluation, LengthBucket
from smotext_ray.utils.files import whole_file
from smotext_ray.utils.hub import CARD_FILE, is_hub_name, last_part, shown
from smotext_ray.utils.markdown import table

TAGS = ["smotext-ray", "xrag", "embedding-to-text", "data-augmentation"]
LOSS_ROWS = 6
LOSSES = ("held_out_matched", "held_out_shuffled", "held_out_none")
# Fields of an Evaluation, and their names in the card.
FIGURES = {
    "nll_matched": "loss with the text's own embedding",
    "nll_shuffled": "loss with another text's embedding",
    "nll_none": "loss without an embedding",
    "cosine_greedy": "cosine of the decoded text to its source",
    "cosine_shuffled": "cosine of the decoded text to another source",
    "cosine_best_of_4": "cosine of the closest of four sampled texts",
    "retrieval_at_1": "source retrieved among all texts",
    "class_agreement": "class kept",
    "verbatim_share": "equal to one of the texts",
}
SHARES = ("retrieval_at_1", "class_agreement", "verbatim_share")


def write_card(
    directory: Path,
    evaluations: Mapping[str, Evaluation] | None = None,
    *,
    license: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the card of the bridge in ``directory`` next to it.

    Parameters
    ----------
    directory : Path
    evaluations : mapping of str to Evaluation, optional
        Maps the name of a set of texts to the bridge's metrics on it.
    license : str, optional
        Hub identifier, such as ``apache-2.0``. Default: none.
    overwrite : bool, default=False
        Replace an existing card.

    Returns
    -------
    Path
        The card's file.

    Raises
    ------
    UserError
        If the directory has no bridge, or a card already exists.
    """
    config = read_bridge_config(directory)
    file = directory / CARD_FILE
    if file.exists() and not overwrite:
        raise UserError(f"{file} already exists; replace it with --overwrite.")
    text = card_text(config, evaluations or {}, read_held_out(directory), license)
    try:
        with whole_file(file) as handle:
            handle.write(text.encode())
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror}).") from error
    return file


def read_evaluations(files: Sequence[str | Path]) -> dict[str, Evaluation]:
    """Read the output files of ``smotext bridge eval --json``, keyed by file name.

    Raises
    ------
    UserError
        If a file is not such output, or two have the same name.
    """
    found: dict[str, Evaluation] = {}
    for file in map(Path, files):
        if file.stem in found:
            raise UserError(
                f"Two of the files are named {file.stem}, which becomes "
                "the name of the set of texts "
                "in the card; rename one."
            )
        found[file.stem] = _read_evaluation(file)
    return found


def _read_evaluation(file: Path) -> Evaluation:
    fix = "give a file that smotext bridge eval --json wrote"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); {fix}.") from error
    except ValueError as error:
        raise UserError(f"{file} is not JSON; {fix}.") from error
    names = [field.name for field in fields(Evaluation)]
    lacking = [name for name in names if not isinstance(content, dict) or name not in content]
    if lacking:
        raise UserError(f"{file} is not an evaluation ({lacking[0]} is missing); {fix}.")
    wrong = [name for name in names if not _is_sound(name, content[name])]
    if wrong:
        said = json.dumps(content[wrong[0]])[:40]
        raise UserError(f"{file} is not an evaluation ({wrong[0]} is {said}); {fix}.")
    lengths = {name: LengthBucket(**bucket) for name, bucket in content["by_length"].items()}
    return Evaluation(**{name: content[name] for name in names} | {"by_length": lengths})


def _is_sound(name: str, value: Any) -> bool:
    if name == "interpolated":
        return isinstance(value, dict) and all(map(_is_number, value.values()))
    if name == "by_length":
        return isinstance(value, dict) and all(map(_is_bucket, value.values()))
    return _is_number(value) or (name == "class_agreement" and value is None)


def _is_bucket(value: Any) -> bool:
    names = {field.name for field in fields(LengthBucket)}
    return isinstance(value, dict) and set(value) == names and all(map(_is_number, value.values()))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def read_held_out(directory: Path) -> list[dict[str, float]]:
    """Steps of a training with held-out losses or cosines; empty if it has no metrics."""
    file = directory / METRICS_FILE
    if not file.exists():
        return []
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            step = json.loads(line)
        except ValueError:
            continue  # a kill can leave the last line half-written
        if "step" in step and (COSINE in step or all(name in step for name in LOSSES)):
            found.append(step)
    return found


def card_text(
    config: BridgeConfig,
    evaluations: Mapping[str, Evaluation],
    held_out: Sequence[Mapping[str, float]] = (),
    license: str | None = None,
) -> str:
    """The card: front matter and Markdown.

    Parameters
    ----------
    config : BridgeConfig
    evaluations : mapping of str to Evaluation
        Keyed by the name of the set of texts.
    held_out : sequence of mapping
        As returned by ``read_held_out``.
    license : str, optional

    Returns
    -------
    str
    """
    title = f"{last_part(config.encoder)} to {last_part(config.llm)}"
    sections = [
        f"---\n{_front_matter(title, config, evaluations, license)}\n---",
        f"# Bridge: {title}",
        _description(config),
        _usage(config),
    ]
    if held_out:
        sections.append(_held_out_table(held_out))
    if evaluations:
        sections.append(_evaluation_table(evaluations))
    sections.append(
        "## Limits\n\nThe LLM makes up the decoded texts: do not rely on names, numbers or dates "
        "in them."
    )
    return "\n\n".join(sections) + "\n"


def _front_matter(
    title: str,
    config: BridgeConfig,
    evaluations: Mapping[str, Evaluation],
    license: str | None,
) -> str:
    from huggingface_hub import ModelCardData

    base = [name for name in (config.encoder, config.llm) if is_hub_name(name)]
    data = ModelCardData(
        library_name="smotext-ray",
        tags=[*TAGS, "lora"] if config.lora_rank else TAGS,
        license=license,
        base_model=base or None,
        # Otherwise the hub would take two base models to mean a merge.
        base_model_relation="adapter" if base else None,
        model_name=title,
        eval_results=_eval_results(evaluations) or None,
    )
    return data.to_yaml()


def _eval_results(evaluations: Mapping[str, Evaluation]) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=re.sub(
                r"[^A-Za-z0-9_.-]+", "-", name
            ),  # the only characters the hub allows
            dataset_name=name,
            metric_type=figure,
            metric_name=FIGURES[figure],
            metric_value=round(value, 4),
        )
        for name, found in evaluations.items()
        for figure in FIGURES
        if (value := getattr(found, figure)) is not None
    ]


def _description(config: BridgeConfig) -> str:
    normalized = "normalized" if config.normalize else "not normalized"
    rows = [
        (f"encoder ({config.encoder_dim} dimensions)", shown(config.encoder)),
        (
            "encoder settings",
            f"{config.pooling} pooling, {normalized}, at most {config.max_length} tokens",
        ),
        (f"LLM ({config.llm_hidden_size} dimensions)", shown(config.llm)),
        ("soft tokens", config.soft_tokens),
        ("hidden size of the projector", config.projector_hidden_size),
    ]
    if config.lora_rank:
        rows.append(("LoRA rank on the LLM", config.lora_rank))
    parts = [
        "Through this bridge, the LLM reads an embedding of the encoder and generates a text with "
        "its meaning. It is xRAG's projector (arXiv:2405.13792), trained for smotext-ray.",
        table(("", ""), rows),
    ]
    if config.has_style:
        parts.append(
            "It is also given the length, case and punctuation that the text should have, because "
            "an embedding may not tell them."
        )
    if config.template != SOFT_PLACEHOLDER:
        template = json.dumps(config.template, ensure_ascii=False)
        parts.append(f"The soft tokens replace `{SOFT_PLACEHOLDER}` in the prompt:")
        parts.append(f"    {template}")
    return "\n\n".join(parts)


def _usage(config: BridgeConfig) -> str:
    return (
        "## Use\n\nReplace USER/NAME with this repository's name, or "
        "a directory with its files:\n\n"
        "    smotext augment --input corpus.csv --output run bridge.path=USER/NAME \\\n"
        f"        encoder.model={shown(config.encoder)} encoder.pooling={config.pooling} \\\n"
        f"        encoder.normalize={str(config.normalize).lower()} "
        f"encoder.max_length={config.max_length} \\\n"
        f"        decoder.model={shown(config.llm)}"
    )


def _held_out_table(held_out: Sequence[Mapping[str, float]]) -> str:
    names: tuple[str, ...]
    titles: tuple[str, ...]
    if COSINE in held_out[-1]:
        names, titles = (COSINE,), ("cosine",)
        best = max(range(len(held_out)), key=lambda i: held_out[i][COSINE])
        what = "## Held-out cosine\n\nOf greedy texts to their points, held out from training"
    else:
        names, titles = LOSSES, ("own embedding", "another text's", "none")
        best = min(range(len(held_out)), key=lambda i: held_out[i]["held_out_matched"])
        what = (
            "## Held-out loss\n\nNats per token of the LLM's target text, on texts held out from "
            "training"
        )
    last = len(held_out) - 1
    shown = {round(i * last / (LOSS_ROWS - 1)) for i in range(LOSS_ROWS)} | {best}
    rows = [
        (int(held_out[i]["step"]), *(f"{held_out[i][name]:.2f}" for name in names))
        for i in sorted(shown)
    ]
    figures = table(("step", *titles), rows)
    return f"{what}. The bridge is from step {int(held_out[best]['step'])}.\n\n{figures}"


def _evaluation_table(evaluations: Mapping[str, Evaluation]) -> str:
    found = evaluations.values()
    rows = [("texts", *(one.rows for one in found))]
    for figure, title in FIGURES.items():
        rows.append((title, *(_figure(figure, getattr(one, figure)) for one in found)))
    lams = sorted({lam for one in found for lam in one.interpolated})
    for lam in lams:
        cosines = (one.interpolated.get(lam) for one in found)
        said = (_figure("interpolated", cosine) for cosine in cosines)
        rows.append((f"cosine to the point, interpolated at lam {lam}", *said))
    lengths = dict.fromkeys(name for one in found for name in one.by_length)
    for name in sorted(lengths, key=lambda name: int(name.split()[0])):
        buckets = [one.by_length.get(name) for one in found]
        said = (_figure("by_length", bucket.cosine if bucket else None) for bucket in buckets)
        rows.append((f"cosine of the decoded text, sources of {name} words", *said))
    return (
        "## Evaluation\n\n`smotext bridge eval`: texts are embedded, decoded greedily, and "
        "embedded again; losses are the LLM's, in nats per token.\n\n"
        + table(("", *evaluations), rows)
    )


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "no labels" if name == "class_agreement" else ""
    return f"{value:.0%}" if name in SHARES else f"{value:.2f}"
