"""Plant canaries in a corpus, and write a list of them next to it.

Pass the list when evaluating a run on that corpus to see whether the secrets leaked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.staging import original_columns, stage_corpus
from smotext_ray.corpus.survey import CorpusSummary, survey_corpus
from smotext_ray.errors import UserError, one_line
from smotext_ray.evaluation.leakage.canaries import Canary, make_canaries
from smotext_ray.evaluation.rows import LabeledTexts
from smotext_ray.run.corpus_files import corpus_table
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.utils.files import whole_file

LIST = "canaries.json"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Listed(_Entry):
    """A canary in the list; ``row`` is its row in the corpus, None for a reference."""

    text: str
    secret: str = Field(pattern=r"^[0-9]{3}-[0-9]{3}-[0-9]{3}$")
    label: str
    row: int | None = Field(ge=0)

    @model_validator(mode="after")
    def _holds_its_secret(self) -> Listed:
        if self.secret not in self.text:
            raise ValueError(f"the secret {self.secret} is not in its text")
        return self

    def canary(self) -> Canary:
        """The canary without its row."""
        return Canary(self.text, self.secret)


class Canaries(_Entry):
    """Planted canaries, and an equal number of references that were never planted."""

    planted: Annotated[list[Listed], Field(min_length=1)]
    references: Annotated[list[Listed], Field(min_length=1)]


def plant(config: InputConfig, output: Path, number: int, seed: int) -> Canaries:
    """Write a corpus with canaries at its end, and ``canaries.json`` next to it.

    Parameters
    ----------
    config : InputConfig
        Input settings of the corpus. In the canaries' rows, columns other than text and label are
        null.
    output : Path
        Parquet file; its directory is created.
    number : int
        Number of canaries to plant. Their classes are drawn at random, in proportion to class size.
    seed : int

    Returns
    -------
    Canaries

    Raises
    ------
    UserError
        If the corpus cannot be used, or an output file exists or cannot be written.
    """
    _check(output, number, seed)
    survey = survey_corpus(config)
    if survey.is_multilabel:
        raise UserError(
            f"The rows of {config.shown} have several labels; canaries are for rows of one class."
        )
    canaries = _drawn(survey, number, seed)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # The list goes first: canaries planted without a list could never be found again.
        with whole_file(output.with_name(LIST)) as handle:
            handle.write((canaries.model_dump_json(indent=1) + "\n").encode())
        with whole_file(output) as handle, pq.ParquetWriter(handle, survey.schema) as writer:
            for table in _with_canaries(config, survey, canaries):
                writer.write_table(
                    original_columns(table, config, survey.schema, survey.categories)
                )
    except OSError as error:
        raise UserError(
            f"{output} cannot be written ({one_line(error)}); use another output."
        ) from error
    return canaries


def read_canaries(file: str, run: Run, corpus: LabeledTexts | None = None) -> Canaries:
    """Read a list of canaries that were planted in the corpus of a run.

    Parameters
    ----------
    file : str
    run : Run
    corpus : LabeledTexts, optional
        The corpus, if the run has not kept it.

    Raises
    ------
    UserError
        If the file cannot be read, is not such a list, or names a canary that the run's corpus
        lacks.
    """
    try:
        canaries = Canaries.model_validate_json(Path(file).read_bytes())
    except OSError as error:
        raise UserError(f"{file} cannot be read ({one_line(error)}); check the path.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{file} is not a list written by smotext canaries ({where}: {first['msg']}); "
            "give that file."
        ) from error
    texts = [entry.text for entry in canaries.planted]
    missing = len(texts) - len(
        _found(texts, run) if corpus is None else set(texts) & {*corpus.texts}
    )
    if missing:
        raise UserError(
            f"{missing} of the {len(canaries.planted)} planted canaries in {file} are not in the "
            "corpus of the run; give the list that was written with that corpus."
        )
    return canaries


def _found(texts: list[str], run: Run) -> set[str]:
    """The texts that are in the run's corpus."""
    some = pc.field("text").isin(pa.array(texts))
    corpus = corpus_table(run, Manifest.read(run))
    return set(corpus.to_table(columns=["text"], filter=some)["text"].to_pylist())


def _check(output: Path, number: int, seed: int) -> None:
    if number < 1 or seed < 0:
        raise UserError("--number must be at least 1, and --seed at least 0.")
    if output.suffix != ".parquet":
        raise UserError(f"The output {output} must end in .parquet.")
    for file in (output, output.with_name(LIST)):
        if file.exists():
            raise UserError(f"{file} already exists; choose an output in another directory.")


def _drawn(survey: CorpusSummary, number: int, seed: int) -> Canaries:
    labels = list(survey.class_counts)
    counts = np.array(list(survey.class_counts.values()), np.float64)
    rng = np.random.default_rng([seed, 7])
    chosen = rng.choice(len(labels), size=2 * number, p=counts / counts.sum())
    made = zip(make_canaries(2 * number, seed), chosen, strict=True)
    entries = [
        Listed(
            text=canary.text,
            secret=canary.secret,
            label=str(labels[code]),
            row=survey.rows + i if i < number else None,
        )
        for i, (canary, code) in enumerate(made)
    ]
    return Canaries(planted=entries[:number], references=entries[number:])


def _with_canaries(
    config: InputConfig, survey: CorpusSummary, canaries: Canaries
) -> Iterator[pa.Table]:
    """The staged rows of the corpus, followed by the canaries."""
    with tempfile.TemporaryDirectory() as directory:
        stage_corpus(config, survey, fs.LocalFileSystem(), directory)
        for file in sorted(Path(directory).glob("part-*.parquet")):
            table = pq.read_table(file)
            yield table
    label_of = {str(label): label for label in survey.class_counts}
    rows = {field.name: pa.nulls(len(canaries.planted), field.type) for field in table.schema}
    rows["text"] = pa.array([entry.text for entry in canaries.planted], pa.string())
    rows["label"] = pa.array(
        [label_of[entry.label] for entry in canaries.planted], table.schema.field("label").type
    )
    yield pa.table(rows, schema=table.schema)
