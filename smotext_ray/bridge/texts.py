"""Read the texts that a bridge is trained or evaluated on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smotext_ray.bridge.data import Task
from smotext_ray.config import InputConfig
from smotext_ray.errors import UserError
from smotext_ray.sources import read_blocks


def read_texts(path: str, text_column: str) -> list[str]:
    """All texts of a ``.txt`` file, one a line, or of a table's column, without empty ones.

    Raises
    ------
    UserError
        If the file or the column is not there, or holds no text.
    """
    if path.endswith(".txt"):
        lines = _lines(Path(path))
    else:
        # The text stands in for the label: a bridge needs none.
        config = InputConfig(path=path, text_column=text_column, label_column=text_column)
        blocks = read_blocks(config)
        lines = [text for block in blocks for text in block.table[text_column].to_pylist()]
    texts = [text.strip() for text in lines if isinstance(text, str) and text.strip()]
    if not texts:
        raise UserError(f"{path} holds no text to train on.")
    return texts


def read_tasks(path: str) -> list[Task]:
    """Tasks for stage 2: a table with the columns background, question and answer.

    Raises
    ------
    UserError
        If the file or a column is not there, or no row has all three.
    """
    columns = []
    for name in Task._fields:
        blocks = read_blocks(InputConfig(path=path, text_column=name, label_column=name))
        columns.append([text for block in blocks for text in block.table[name].to_pylist()])
    tasks = [
        Task(*(text.strip() for text in row))
        for row in zip(*columns, strict=True)
        if all(isinstance(text, str) and text.strip() for text in row)
    ]
    if not tasks:
        raise UserError(f"{path} has no row with a background, a question and an answer.")
    return tasks


def read_labelled_texts(
    path: str, text_column: str, label_column: str | None, rows: int
) -> tuple[list[str], list[Any] | None]:
    """The first ``rows`` texts that are not empty, and their labels where a column is named.

    Raises
    ------
    UserError
        As `read_texts`, or if fewer than two texts are there.
    """
    if label_column is None:
        texts, labels = read_texts(path, text_column)[:rows], None
    else:
        config = InputConfig(path=path, text_column=text_column, label_column=label_column)
        pairs = [
            (text.strip(), label)
            for block in read_blocks(config)
            for text, label in zip(
                block.table[text_column].to_pylist(),
                block.table[label_column].to_pylist(),
                strict=True,
            )
            if isinstance(text, str) and text.strip() and label is not None
        ][:rows]
        texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
    if len(texts) < 2:
        raise UserError(f"{path} holds fewer than two texts; evaluating a bridge takes some.")
    return texts, labels


def _lines(path: Path) -> list[str]:
    try:
        # Not splitlines, which also ends a line at U+2028 and at form feeds within a text.
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text: {error}.") from error
