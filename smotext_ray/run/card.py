"""The card of a result: what is in it, what it was made of and how, as a data set's README.md.

With a front matter that the Hugging Face hub reads. All of it comes from the run's manifest.
"""

from __future__ import annotations

import bisect
import shlex

import yaml

from smotext_ray.config.schema import config_json
from smotext_ray.errors import UserError
from smotext_ray.gate.reasons import REJECTED_IN_WORDS
from smotext_ray.run.class_outcomes import class_outcomes
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.utils.hub import CARD_FILE, shown
from smotext_ray.utils.markdown import table

TAGS = ["smotext-ray", "synthetic", "data-augmentation", "smote"]
NOT_ANONYMOUS = (
    "New texts that lie between two real ones are not anonymous: SMOTE is known to leak the "
    "records that it starts from (arXiv:2510.15083). The gate's check for copies is no more than "
    "that."
)
COLUMNS = {
    "synthetic": "true for new rows",
    "source_id, neighbor_id": "the two rows that a new text lies between",
    "lam": "where between them: 0 is the source, 1 the neighbour",
    "cosine_to_point": "how near the text came to its point",
    "sample_id, round": "which sample of which round it is",
}
# Settings that name a file or a directory of their owner's.
NAMES = {("encoder", "model"), ("bridge", "path"), ("decoder", "model"), ("privacy", "directions")}


def write_card(run: Run, *, license: str | None = None, overwrite: bool = False) -> str:
    """Write the card of a run's result into the run.

    Parameters
    ----------
    run : Run
    license : str, optional
        Identifier of the hub, such as ``cc-by-4.0``. Default: the card names none.
    overwrite : bool, default=False
        Replace a card that is there.

    Returns
    -------
    str
        Where it is.

    Raises
    ------
    UserError
        If the run has no result, or a card already.
    """
    manifest = finished_manifest(run)
    if run.has(CARD_FILE) and not overwrite:
        raise UserError(
            f"{run.uri.rstrip('/')}/{CARD_FILE} exists already; write it anew with --overwrite."
        )
    run.write(card_text(manifest, license).encode(), CARD_FILE)
    return f"{run.uri.rstrip('/')}/{CARD_FILE}"


def finished_manifest(run: Run) -> Manifest:
    """The manifest of a run with a result.

    Raises
    ------
    UserError
        If there is no run, or it has no result.
    """
    manifest = Manifest.read(run)
    if "result" not in manifest.stages:
        raise UserError(
            f"The run {run.uri} has no result yet; the command that began it goes on with it."
        )
    return manifest


def card_text(manifest: Manifest, license: str | None = None) -> str:
    """The card of a run's result: front matter and Markdown."""
    sections = [
        f"---\n{_front_matter(manifest, license)}\n---",
        "# Texts by SMOTExT",
        _description(manifest),
        _classes(manifest),
        _columns(manifest),
        _models(manifest),
        _gate(manifest),
        _settings(manifest),
        _privacy(manifest),
        _licence(manifest),
        "## Limits\n\nThe new texts are made up by an LLM: names, numbers and dates in them are "
        "not to be relied on. Their labels are those of the texts that they were made of.",
        _files(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def digests(manifest: Manifest) -> str:
    """The lines of a card that tell which files it is of."""
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
    """The hub's name for a number of rows."""
    names = ["1K", "10K", "100K", "1M", "10M", "100M", "1B"]
    place = bisect.bisect_right([1000 * 10**i for i in range(len(names) - 1)], rows)
    return f"{names[place - 1]}<n<{names[place]}" if place else f"n<{names[0]}"


def _description(manifest: Manifest) -> str:
    result, corpus = manifest.written_result, manifest.input.rows
    kept = result.rows - result.synthetic
    of_corpus = (
        f"{kept} rows of the corpus `{_corpus_name(manifest)}` as they were, and "
        if kept
        else f"No row of the corpus `{_corpus_name(manifest)}` ({corpus} rows), but "
    )
    return (
        f"{of_corpus}{result.synthetic} new ones, made by smotext-ray "
        f"{manifest.smotext_ray} (begun {manifest.created[:10]}) with SMOTExT "
        "(arXiv:2505.13434): two neighbouring texts of a class are embedded, a point between them "
        "is drawn as SMOTE does, an LLM reads the point through a bridge (xRAG) and says a text, "
        "and a gate accepts it or not."
    )


def _corpus_name(manifest: Manifest) -> str:
    return shown(manifest.config.input.path)


def _classes(manifest: Manifest) -> str:
    rows = [
        (found.label, found.before, found.asked, found.accepted, found.after)
        for found in class_outcomes(manifest)
    ]
    head = ("class", "rows before", "asked for", "accepted", "rows here")
    return f"## Classes\n\n{table(head, rows)}"


def _columns(manifest: Manifest) -> str:
    own = manifest.config.input
    rows = [(own.text_column, "the text"), (own.label_column, "its class"), *COLUMNS.items()]
    ids = f"`{own.id_column}`" if own.id_column else "row numbers of the corpus, from 0"
    note = f"Further columns are the corpus's own, empty in new rows. Ids are {ids}."
    return f"## Columns\n\n{table(('column', ''), rows)}\n\n{note}"


def _models(manifest: Manifest) -> str:
    rows = [
        (name, shown(model["name"]), model["sha256"] or "as the hub has it")
        for name, model in manifest.models.items()
    ]
    return f"## Models\n\n{table(('', 'name', 'SHA-256 of the weights'), rows)}"


def _gate(manifest: Manifest) -> str:
    rounds, points = len(manifest.rounds), manifest.points
    taken = sum(found.accepted for found in class_outcomes(manifest))
    said = (
        f"Of {points} points {taken} became texts that were accepted"
        f"{f' ({taken / points:.0%})'.replace('%', ' %') if points else ''}, in "
        f"{rounds} round{'' if rounds == 1 else 's'}."
    )
    reasons = manifest.rejections().most_common()
    if not reasons:
        return f"## Acceptance\n\n{said}"
    rows = [(reason, REJECTED_IN_WORDS.get(reason, ""), number) for reason, number in reasons]
    return f"## Acceptance\n\n{said}\n\n{table(('rejected', 'in words', 'texts'), rows)}"


def _settings(manifest: Manifest) -> str:
    content = config_json(manifest.effective_config)
    own = content.pop("input")
    del content["resources"]  # which change no row
    for section, key in NAMES:
        if section in content:
            content[section][key] = shown(content[section][key])
    names = ("text_column", "label_column", "id_column")
    columns = " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(own[name])}" for name in names if own[name]
    )
    return (
        "## How it was made\n\n"
        f"    smotext augment --input CORPUS --output RUN {columns} --config settings.yaml\n\n"
        "with these settings, among them the gate's:\n\n```yaml\n"
        f"{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}```"
    )


def _privacy(manifest: Manifest) -> str:
    if manifest.privacy is not None:
        return f"## Privacy\n\n{manifest.privacy.in_words()}"
    kept = "The rows of the corpus are in it as they were. " if _keeps_rows(manifest) else ""
    return f"## Privacy\n\n{kept}{NOT_ANONYMOUS}"


def _keeps_rows(manifest: Manifest) -> bool:
    return bool(manifest.written_result.rows > manifest.written_result.synthetic)


def _licence(manifest: Manifest) -> str:
    return (
        "## Licence\n\nThe corpus has its own licence, which may bind what is made of it; so may "
        f"that of the LLM, `{shown(manifest.models['llm']['name'])}`. A licence that is named "
        "above is the publisher's choice."
    )


def _files(manifest: Manifest) -> str:
    return f"## Files\n\nSHA-256:\n\n{digests(manifest)}"
