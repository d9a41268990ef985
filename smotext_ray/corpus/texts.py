"""Read the texts for training or evaluating a bridge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.blocks import require_columns
from smotext_ray.corpus.sources import read_blocks
from smotext_ray.errors import UserError


def read_texts(path: str, text_column: str) -> list[str]:
    """All non-empty texts of a ``.txt`` file, one per line, or of a table's column.

    Raises
    ------
    UserError
        If the file or column does not exist, or has no text.
    """
    if path.endswith(".txt"):
        lines = _lines(Path(path))
    else:
        # The text doubles as the label, because a bridge needs none.
        config = InputConfig(path=path, text_column=text_column, label_column=text_column)
        lines = [text for (text,) in _rows(config, text_column)]
    texts = [text.strip() for text in lines if isinstance(text, str) and text.strip()]
    if not texts:
        raise UserError(f"{path} has no text to train on.")
    return texts


def read_labeled_texts(
    path: str, text_column: str, label_column: str | None, rows: int
) -> tuple[list[str], list[Any] | None]:
    """The first ``rows`` non-empty texts, and their labels if a label column is given.

    Raises
    ------
    UserError
        As in `read_texts`, or if there are fewer than two texts.
    """
    if label_column is None:
        texts, labels = read_texts(path, text_column)[:rows], None
    else:
        config = InputConfig(path=path, text_column=text_column, label_column=label_column)
        pairs = [
            (text.strip(), _as_class(label))
            for text, label in _rows(config, text_column, label_column)
            # A label that is NaN is missing.
            if isinstance(text, str) and text.strip() and label is not None and label == label
        ][:rows]
        texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
        if any(isinstance(label, list) for label in labels):
            raise UserError(
                f"The column {label_column!r} of {path} has lists of labels; name one with a class "
                "per text."
            )
    if len(texts) < 2:
        raise UserError(f"{path} has fewer than two usable texts; add more.")
    return texts, labels


def _as_class(label: Any) -> Any:
    """A label as in a run: if some are missing, other tools write 1 as 1.0."""
    return int(label) if isinstance(label, float) and label.is_integer() else label


def _rows(config: InputConfig, *names: str) -> list[tuple[Any, ...]]:
    """Rows of some columns of a table; fields missing in a JSON line are None."""
    rows: list[tuple[Any, ...]] = []
    seen: set[str] = set()
    for block in read_blocks(config):
        there = set(block.table.column_names)
        seen |= there
        nothing = [None] * len(block.table)
        columns = [block.table[name].to_pylist() if name in there else nothing for name in names]
        rows += zip(*columns, strict=True)
    require_columns(sorted(seen), config, config.shown)
    return rows


def _lines(path: Path) -> list[str]:
    try:
        # Not splitlines, which also splits at U+2028 and form feeds within a text.
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text: {error}.") from error
