"""A model or a bridge of a stranger runs none of its own code, and imports no module."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from tiny_models import tiny_encoder
from transformers import AutoConfig, AutoModel, AutoTokenizer

import smotext_ray
from smotext_ray.errors import UserError
from smotext_ray.models.encoder import Encoder
from smotext_ray.models.pretrained import load_pretrained


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "was-here"


@pytest.fixture
def encoder(tmp_path):
    return tiny_encoder(tmp_path / "encoder")


def changed(file: Path, **keys: object) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | keys))


@pytest.fixture
def own_code(encoder, mark):
    """A model that only the code next to it can load."""
    (encoder / "evil.py").write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\nEvil = object\n"
    )
    auto_map = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}
    changed(encoder / "config.json", model_type="evil", auto_map=auto_map)
    changed(
        encoder / "tokenizer_config.json",
        tokenizer_class="Evil",
        auto_map={"AutoTokenizer": ["evil.Evil", None]},
    )
    return encoder


@pytest.mark.parametrize("kind", [AutoConfig, AutoModel, AutoTokenizer])
def test_code_next_to_the_weights_is_not_run(kind, own_code, mark, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # nobody is asked
    with pytest.raises(UserError, match="needs Python code from its own repository"):
        load_pretrained(kind, str(own_code))
    assert not mark.exists()


def test_nor_by_the_encoder(own_code, mark):
    with pytest.raises(UserError, match="never run here"):
        Encoder(str(own_code))
    assert not mark.exists()


def test_an_adapter_next_to_the_weights_is_not_loaded(encoder, mark, tmp_path, monkeypatch):
    """peft imports what `megatron_core` names, wherever Python finds it."""
    (tmp_path / "trap.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    changed(
        encoder / "adapter_config.json",
        peft_type="LORA",
        base_model_name_or_path=str(encoder),
        megatron_config={"a": 1},
        megatron_core="trap",
        target_modules=["query"],
        r=2,
    )
    with pytest.raises(UserError, match="comes with an adapter"):
        load_pretrained(AutoModel, str(encoder))
    assert not mark.exists() and "trap" not in sys.modules


def test_a_model_without_any_of_it_is_loaded(encoder):
    assert load_pretrained(AutoModel, str(encoder)).config.model_type == "bert"


def test_all_models_are_loaded_that_way():
    package = Path(smotext_ray.__file__).parent
    for file in package.rglob("*.py"):
        calls = re.findall(r"Auto\w+\.from_pretrained", file.read_text())
        assert not calls, file
