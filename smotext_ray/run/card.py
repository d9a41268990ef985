"""The dataset card of a result, as README.md: its contents, sources and settings.

It has front matter for the Hugging Face hub. Everything comes from the run's manifest.
"""

from __future__ import annotations

import bisect
import json
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from smotext_ray.config.stored import config_json
from smotext_ray.errors import UserError
from smotext_ray.gate.reasons import rejected_in_words
from smotext_ray.run.class_outcomes import class_outcomes, imbalance_in_words
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.utils.hub import CARD_FILE, shown
from smotext_ray.utils.markdown import table

TAGS = ["smotext-ray", "synthetic", "data-augmentation", "smote"]
NOT_ANONYMOUS = (
    "Texts interpolated from two real ones are not anonymous: SMOTE is known to leak the "
    "records it starts from (arXiv:2510.15083). The gate's check for copies is no more than "
    "that."
)
COLUMNS = {
    "synthetic": "true for synthetic rows",
    "source_id, neighbor_id": "the two parent rows of a synthetic text",
    "lam": "position between them: 0 is the source, 1 the neighbor",
    "cosine_to_point": "cosine similarity of the text to its target point",
    "sample_id, round": "sample number and round",
    "sample_weight": "weight in training: 1, or less for many synthetic texts of few real ones",
}
# Settings with local file or directory names.
NAMES = {("encoder", "model"), ("bridge", "path"), ("decoder", "model"), ("privacy", "directions")}


def write_card(run: Run, *, license: str | None = None, overwrite: bool = False) -> str:
    """Write the card of a run's result to the run directory.

    Parameters
    ----------
    run : Run
    license : str, optional
        Hub identifier, such as ``cc-by-4.0``. Default: none.
    overwrite : bool, default=False
        Replace an existing card.

    Returns
    -------
    str
        Path or URI of the card.

    Raises
    ------
    UserError
        If the run has no result, or already has a card.
    """
    manifest = finished_manifest(run)
    if run.has(CARD_FILE) and not overwrite:
        raise UserError(
            f"{run.uri.rstrip('/')}/{CARD_FILE} already exists; replace it with --overwrite."
        )
    run.write(card_text(manifest, license).encode(), CARD_FILE)
    return f"{run.uri.rstrip('/')}/{CARD_FILE}"


def finished_manifest(run: Run) -> Manifest:
    """Read the manifest of a run that must have a result.

    Raises
    ------
    UserError
        If there is no run, or it has no result.
    """
    manifest = Manifest.read(run)
    if "result" not in manifest.stages:
        raise UserError(
            f"The run {run.uri} has no result yet; run the command that started it again to resume."
        )
    return manifest


def card_text(manifest: Manifest, license: str | None = None) -> str:
    """The card of a run's result: front matter and Markdown."""
    sections = [
        f"---\n{_front_matter(manifest, license)}\n---",
        "# Dataset balanced with SMOTExT",
        _description(manifest),
        _classes(manifest),
        _columns(manifest),
        _models(manifest),
        _gate(manifest),
        _settings(manifest),
        _privacy(manifest),
        _license_note(manifest),
        "## Limits\n\nThe synthetic texts are made up by an LLM: do not rely on names, numbers or "
        "dates in them. Their labels are those of their parent texts.",
        _files(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def digests(manifest: Manifest) -> str:
    """The lines of a card with the digests of its files."""
    found = manifest.written_result.sha256
    return "\n".join(f"    {digest}  {file}" for file, digest in sorted(found.items()))


def _front_matter(manifest: Manifest, license: str | None) -> str:
    from huggingface_hub import DatasetCardData

    path = manifest.written_result.path
    files = path if path.endswith(".parquet") else f"{path}/*.parquet"
    data = DatasetCardData(
        license=license,
        task_categories=["text-classification"],
        size_categories=_size(manifest.written_result.rows),
        tags=TAGS,
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": files}]}],
    )
    return data.to_yaml()


def _size(rows: int) -> str:
    """The hub's size category for a number of rows."""
    names = ["1K", "10K", "100K", "1M", "10M", "100M", "1B"]
    place = bisect.bisect_right([1000 * 10**i for i in range(len(names) - 1)], rows)
    return f"{names[place - 1]}<n<{names[place]}" if place else f"n<{names[0]}"


def _description(manifest: Manifest) -> str:
    result, corpus = manifest.written_result, manifest.input.rows
    kept = result.rows - result.synthetic
    of_corpus = (
        f"{kept} original rows of the corpus `{_corpus_name(manifest)}`, and "
        if kept
        else f"No row of the corpus `{_corpus_name(manifest)}` (about {corpus} rows), but "
    )
    return (
        f"{of_corpus}{result.synthetic} synthetic ones, created by smotext-ray "
        f"{manifest.smotext_ray} (started {manifest.created[:10]}) with SMOTExT "
        f"(arXiv:2505.13434): {_points_of(manifest)} "
        "an LLM generates a text from the point through the xRAG bridge, "
        "and a gate accepts or rejects it."
    )


def _points_of(manifest: Manifest) -> str:
    if manifest.privacy is not None and manifest.privacy.neighbors is not None:
        return (
            "of each class, a count and a sum of embeddings are released with noise, points are "
            "drawn from them, a point between two of these is drawn as in SMOTE,"
        )
    return (
        f"two neighboring texts {'with a label' if manifest.is_multilabel else 'of a class'} are "
        "embedded, a point between them is drawn as in SMOTE,"
    )


def _corpus_name(manifest: Manifest) -> str:
    return shown(manifest.config.input.path)


def _classes(manifest: Manifest) -> str:
    rows = [
        (found.label, found.before, found.asked, found.accepted, found.after)
        for found in class_outcomes(manifest)
    ]
    before = "rows before, noised" if manifest.is_private else "rows before"
    unit, title = ("label", "Labels") if manifest.is_multilabel else ("class", "Classes")
    head = (unit, before, "requested", "accepted", "rows after")
    told = [imbalance_in_words(manifest), manifest.written_result.lengths_in_words()]
    return "\n\n".join([f"## {title}", table(head, rows), *filter(None, told)])


def _columns(manifest: Manifest) -> str:
    own = manifest.config.input
    labels = [(own.label_column, "its class")]
    if manifest.is_multilabel:
        labels = [(name, "its labels") for name in own.label_names]
    if own.label_columns is not None:
        labels = [(name, "1 for a text with this label, else 0") for name in own.label_names]
    rows = [(own.text_column, "the text"), *labels, *COLUMNS.items()]
    ids = f"`{own.id_column}`" if own.id_column else "row numbers of the corpus, from 0"
    if manifest.is_private:
        ids = "numbers of points that stand in for the corpus, not of its rows"
    note = f"Other columns are from the corpus, and empty in synthetic rows. Ids are {ids}."
    return f"## Columns\n\n{table(('column', ''), rows)}\n\n{note}"


def _models(manifest: Manifest) -> str:
    rows = [
        (name, shown(model["name"]), model["sha256"] or "as on the hub")
        for name, model in manifest.models.items()
    ]
    models = f"## Models\n\n{table(('', 'name', 'SHA-256 of the weights'), rows)}"
    return models if manifest.adapted is None else f"{models}\n\n{manifest.adapted.in_words()}"


def _gate(manifest: Manifest) -> str:
    rounds, points = len(manifest.rounds), manifest.points
    taken = manifest.usable_texts
    said = (
        f"Of {points} points, {taken} became accepted texts"
        f"{f' ({taken / points:.0%})' if points else ''}, in "
        f"{rounds} round{'' if rounds == 1 else 's'}."
    )
    reasons = manifest.rejections().most_common()
    if not reasons:
        return f"## Acceptance\n\n{said}"
    words = rejected_in_words(manifest.is_multilabel)
    rows = [(reason, words.get(reason, ""), number) for reason, number in reasons]
    return f"## Acceptance\n\n{said}\n\n{table(('rejected', 'meaning', 'texts'), rows)}"


def _settings(manifest: Manifest) -> str:
    content = config_json(manifest.effective_config)
    own = content.pop("input")
    del content["resources"]  # they change no row
    for key in ("budget", "ledger"):  # nor do these
        content.get("privacy", {}).pop(key, None)
    for section, key in NAMES:
        if section in content:
            content[section][key] = shown(content[section][key])
    columns = _column_options(own)
    return (
        "## How it was made\n\n"
        f"    smotext augment --input CORPUS --output RUN --config settings.yaml {columns}\n\n"
        "with these settings, including the gate's:\n\n```yaml\n"
        f"{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}```"
    )


def _column_options(own: Mapping[str, Any]) -> str:
    """The options and settings that determine which columns are read; lists of names come last."""
    labels = own.get("label_columns")
    names = ("text_column", "id_column") if labels else ("text_column", "label_column", "id_column")
    options = [f"--{n.replace('_', '-')} {shlex.quote(own[n])}" for n in names if own[n]]
    if own.get("label_delimiter"):
        options.append(shlex.quote(f"input.label_delimiter={json.dumps(own['label_delimiter'])}"))
    if labels:
        options.append("--label-columns " + " ".join(map(shlex.quote, labels)))
    return " ".join(options)


def _privacy(manifest: Manifest) -> str:
    if manifest.privacy is not None:
        return f"## Privacy\n\n{manifest.privacy.in_words()}"
    kept = "It contains the original rows of the corpus. " if _keeps_rows(manifest) else ""
    return f"## Privacy\n\n{kept}{NOT_ANONYMOUS}"


def _keeps_rows(manifest: Manifest) -> bool:
    return bool(manifest.written_result.rows > manifest.written_result.synthetic)


def _license_note(manifest: Manifest) -> str:
    return (
        "## License\n\nThe license of the corpus may also apply to derived data; so may that of "
        f"the LLM, `{shown(manifest.models['llm']['name'])}`. A license named above is the "
        "publisher's choice."
    )


def _files(manifest: Manifest) -> str:
    return f"## Files\n\nSHA-256:\n\n{digests(manifest)}"
