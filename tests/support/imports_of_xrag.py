"""Imports of xRAG that are refused, and files of a checkpoint that are changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_training import quiet
from tiny_xrag import write_json

from smotext_ray.errors import UserError
from smotext_ray.training.xrag import import_xrag


def refusal(source, output, **options) -> str:
    """The sentence of a refused import, which leaves nothing behind."""
    parent = Path(output).parent
    before = sorted(parent.iterdir())
    with pytest.raises(UserError) as refused:
        import_xrag(str(source), output, log=quiet, **options)
    assert sorted(parent.iterdir()) == before
    assert "\n" not in str(refused.value)
    return str(refused.value)


def change(file: Path, **keys: object) -> None:
    write_json(file, json.loads(file.read_text()) | keys)
