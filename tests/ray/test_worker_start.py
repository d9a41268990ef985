"""What is hidden while models load is there again afterwards."""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys

import pytest

from smotext_ray.cluster.worker_start import quick_imports

IN_A_PROCESS = """
import gc, sys
from smotext_ray.cluster.worker_start import quick_imports
assert "sklearn" not in sys.modules
with quick_imports():
    assert not gc.isenabled()
    from transformers import AutoModel
    AutoModel.from_config
assert "sklearn" not in sys.modules
assert gc.isenabled()
import sklearn.metrics
"""


def test_transformers_does_without_scikit_learn_which_is_there_afterwards():
    subprocess.run([sys.executable, "-c", IN_A_PROCESS], check=True)


def test_all_is_as_before_after_an_error(monkeypatch):
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    with pytest.raises(KeyError, match="mine"), quick_imports():
        assert importlib.util.find_spec("sklearn") is None
        raise KeyError("mine")
    assert importlib.util.find_spec("sklearn") is not None
    assert gc.isenabled()


def test_a_library_that_is_imported_already_stays():
    import sklearn

    with quick_imports():
        assert sys.modules["sklearn"] is sklearn
    assert sys.modules["sklearn"] is sklearn


def test_garbage_that_was_not_collected_before_is_not_afterwards():
    gc.disable()
    try:
        with quick_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
