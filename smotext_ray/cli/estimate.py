"""Dry-run estimates: rows, points, tokens and time."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from smotext_ray.cli.terminal import literal
from smotext_ray.cluster.progress import time_in_words
from smotext_ray.config.schema import RunConfig
from smotext_ray.corpus.survey import CorpusSummary
from smotext_ray.pipeline.needed import rows_to_embed
from smotext_ray.plan.strategy import called
from smotext_ray.utils.cpu import cpu_dtype, usable_cores

CHARACTERS_PER_TOKEN = 4.0  # for English text and the vocabularies of current LLMs
# The default bridge was trained on short texts, and writes short ones for articles too: on average
# 28 tokens for Reuters R8.
MOST_TOKENS_OF_DEFAULT = 30
MANY_PER_ROW = 20  # new texts of a class per real one
# The offline preset's models, one actor per core, on two cores of an AMD EPYC: bfloat16 on one with
# native support (Zen 4), float32 on one without; see docs/performance.md.
TEXTS_PER_SECOND_AND_CORE = {"float32": 35.0, "bfloat16": 65.0, "float16": 35.0}
TOKENS_PER_SECOND_AND_CORE = {"float32": 90.0, "bfloat16": 200.0, "float16": 90.0}
START_UP_SECONDS = 25.0  # starting Ray and loading an engine, per round


def show_estimate(
    survey: CorpusSummary, new_points: dict[Any, int], config: RunConfig, console: Console
) -> None:
    """Print rows per class before and after, points, and estimates for the first round."""
    unit, title = ("label", "Labels") if survey.is_multilabel else ("class", "Classes")
    table = Table(unit, "before", "new", "after", title=title)
    for label, before in survey.class_counts.items():
        new = new_points.get(label, 0)
        shown = str(called(label, survey.class_names)).replace("\n", "\\n")
        kept = 0 if config.privacy.epsilon is not None else before
        table.add_row(literal(shown), str(before), str(new), str(kept + new))
    console.print(table)
    for reason, bad in survey.bad_rows.items():
        examples = ", ".join(map(str, bad.examples))
        console.print(literal(f"Skipped: {bad.count} rows whose {reason}, such as {examples}."))

    for sentence in survey.warnings:
        console.print(literal(f"Note: {sentence}"))
    points = sum(new_points.values())
    tokens = int(points * config.decoder.num_candidates * _tokens_per_text(survey, config))
    cores = usable_cores()
    encoding = cpu_dtype() if config.encoder.dtype == "auto" else config.encoder.dtype
    texts_per_second = TEXTS_PER_SECOND_AND_CORE[encoding] * cores
    embedded = survey.rows
    if not survey.is_multilabel:
        embedded = sum(rows_to_embed(config, survey.class_counts, new_points).values())
    embed = START_UP_SECONDS + embedded / texts_per_second
    dtype = cpu_dtype() if config.decoder.dtype == "auto" else config.decoder.dtype
    decode = START_UP_SECONDS + tokens / (TOKENS_PER_SECOND_AND_CORE[dtype] * cores)
    stages = Table("stage", "work", "approximate time", title="Estimate (no GPU)")
    stages.add_row("embed", f"{embedded} of {survey.rows} texts", time_in_words(embed))
    # A text counts for each of its labels.
    number = f"at most {points}" if survey.is_multilabel else str(points)
    stages.add_row("plan", f"{number} points", time_in_words(START_UP_SECONDS / 5))
    if config.adapt.minutes:
        stages.add_row("adapt", "the bridge", time_in_words(60 * config.adapt.minutes))
    stages.add_row(
        "decode, round 1",
        f"{number} points, {config.decoder.num_candidates} texts each, {tokens} tokens",
        time_in_words(decode if points else 0),
    )
    console.print(stages)
    more = config.plan.max_rounds - 1
    later = f"; up to {more} more rounds replace rejected texts" if more else ""
    for caution in cautions(survey, new_points, config):
        console.print(literal(f"Note: {caution}"))
    console.print(
        f"For {cores} CPU cores and the models of the offline preset{later}. Nothing was written."
    )


def cautions(survey: CorpusSummary, new_points: dict[Any, int], config: RunConfig) -> list[str]:
    """What a user may not expect from such a run, one sentence each."""
    found = []
    if config.privacy.epsilon is not None:
        found.append(
            "These numbers are exact, and for you who hold the corpus; the guarantee of "
            "privacy.epsilon does not cover them."
        )
    for label, new in new_points.items():
        before = survey.class_counts[label]
        if new > MANY_PER_ROW * before:
            name = called(label, survey.class_names)
            found.append(
                f"class {name!r} would get {new / before:.0f} new texts per real one; above "
                f"{MANY_PER_ROW} they repeat each other, so set a lower target."
            )
    tokens = survey.mean_characters / CHARACTERS_PER_TOKEN
    if tokens > config.encoder.max_length:
        found.append(
            f"the texts have about {tokens:.0f} tokens on average, but the encoder reads the first "
            f"{config.encoder.max_length}; split them, or use an encoder that reads more and set "
            "encoder.max_length."
        )
    elif tokens > 2 * MOST_TOKENS_OF_DEFAULT and config.bridge.path == "default":
        found.append(
            f"the texts have about {tokens:.0f} tokens on average; the default bridge writes about "
            f"{MOST_TOKENS_OF_DEFAULT}, so new texts will be shorter than real ones."
        )
    return found


def _tokens_per_text(survey: CorpusSummary, config: RunConfig) -> float:
    tokens = min(config.decoder.max_tokens, survey.mean_characters / CHARACTERS_PER_TOKEN)
    return min(tokens, MOST_TOKENS_OF_DEFAULT) if config.bridge.path == "default" else tokens
