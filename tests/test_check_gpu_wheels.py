"""What the code calls in vLLM and FAISS is what `make check-gpu-wheels` looks up."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = {
    file: ast.parse(file.read_text())
    for file in sorted((ROOT / "smotext_ray").rglob("*.py"))
    if re.search("vllm|faiss|engine", file.read_text())
}


@pytest.fixture(scope="module")
def script():
    path = ROOT / "locks" / "check_gpu_wheels.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def test_the_builds_for_cpus_have_the_same(script):
    """Their Python files are nearly those of the GPU wheels, which are too large for CI."""
    vllm, faiss = (Path(importlib.util.find_spec(name).origin) for name in ("vllm", "faiss"))

    def source(file: str) -> str:
        if not (vllm.parent.parent / file).exists():
            raise KeyError(file)
        return (vllm.parent.parent / file).read_text()

    assert vllm.parent.parent == faiss.parent.parent
    verdicts = {name: verdict for name, _, verdict in script.rows("vllm", source)}
    verdicts |= {name: verdict for name, _, verdict in script.rows("faiss-gpu", source)}
    assert {name: each for name, each in verdicts.items() if each != "ok"} == {
        # SWIG wraps what the library was built with.
        "faiss.swigfaiss.StandardGpuResources": "not there",
        "faiss.swigfaiss.StandardGpuResources.setTempMemory": "not there",
    }


LIBRARY = """
NAMES = {"Lazy": ".other:Lazy"}

def search(res, k, metric=1, *, limit=0): ...

class Engine:
    clock: ClassVar[int] = 0

    def __init__(self, model, **kwargs):
        self.core = None

    def step(self): ...

class Arguments:
    dtype: str
    seed: int = 0

if TYPE_CHECKING:
    platform: Engine
"""


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (("a.py", "search", 2, ("metric", "limit")), ""),
        (("a.py", "search", 2, ("tile", "metric")), "does not take tile"),
        (("a.py", "search", 4), "takes 3 arguments by position"),
        (("a.py", "search", 1), "also needs k"),
        (("a.py", "find", 1), "not there"),
        (("b.py", "search", 1), "no such file"),
        (("a.py", "Engine", 1, ("dtype",), ("a.py", "Arguments")), ""),
        (("a.py", "Engine", 1, ("dtpe",), ("a.py", "Arguments")), "does not take dtpe"),
        (("a.py", "Engine.step", 0), ""),
        (("a.py", "Engine.step", 1), "takes 0 arguments by position"),
        (("a.py", "Engine.core"), ""),
        (("a.py", "Engine.heart"), "not there"),
        (("a.py", "Arguments", 0, ("seed", "dtype")), ""),
        (("a.py", "Arguments", 0, ("seed",)), "also needs dtype"),
        (("a.py", "Lazy"), ""),
        (("a.py", "platform"), ""),
    ],
)
def test_what_does_not_fit_is_told(script, arguments, expected):
    found = script.problem(script.Use(*arguments), {"a.py": LIBRARY}.__getitem__)
    assert found == expected


def test_a_row_says_what_is_wrong_and_the_code_what_to_expect(script, monkeypatch, capsys):
    table = {"faiss-gpu": (script.Use("a.py", "search", 2, ("tile",)),)}
    monkeypatch.setattr(script, "USES", table)
    found = script.rows("faiss-gpu", {"a.py": LIBRARY}.__getitem__)
    script.show("faiss-gpu==1", found)
    assert capsys.readouterr().out.splitlines() == [
        "faiss-gpu==1",
        "  does not take tile  a.search  (_, _, tile=)",
    ]


@pytest.mark.parametrize("package", ["vllm", "faiss-gpu"])
def test_the_lines_of_a_package_in_a_lock(script, package):
    lock = (ROOT / "locks" / "gpu-py312.txt").read_text()
    first, *hashes = script.locked(lock, package).splitlines()
    assert first.startswith(f"{package}==") and hashes
    assert all(line.strip().startswith("--hash=sha256:") for line in hashes)


# The table is what the code calls


def calls(name: str) -> list[ast.Call]:
    """Calls of a function or method of this name, anywhere in the package."""
    found = [
        node
        for module in PACKAGE.values()
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name
    ]
    assert found, f"nothing calls {name} any more"
    return found


@pytest.mark.parametrize(
    "package, name",
    [
        ("vllm", "LLM"),
        ("vllm", "LLM.enqueue"),
        ("vllm", "SamplingParams"),
        ("vllm", "LoRARequest"),
        ("faiss-gpu", "knn_gpu"),
    ],
)
def test_every_argument_that_is_written_in_a_call_is_looked_up(script, package, name):
    (looked_up,) = (
        each for each in script.USES[package] if each.name == name and each.positional is not None
    )
    for call in calls(name.rpartition(".")[2]):
        assert len(call.args) == looked_up.positional
        assert {each.arg for each in call.keywords if each.arg} <= set(looked_up.keywords)


def test_every_setting_of_the_engine_is_looked_up(script):
    """Those that are collected in dictionaries, in the modules of the engine."""
    looked_up = {
        keyword
        for each in script.USES["vllm"]
        if each.name in ("LLM", "SamplingParams")
        for keyword in each.keywords
    }
    keys = set()
    for file, module in PACKAGE.items():
        if not file.stem.startswith("engine"):
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.Dict):
                keys |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                keys |= {node.slice.value} if isinstance(node.slice, ast.Constant) else set()
    settings = {key for key in keys if isinstance(key, str) and key.islower()}
    assert {"enable_lora", "top_p"} <= settings
    assert settings <= looked_up


def test_every_import_of_vllm_is_looked_up(script):
    names = {each.name.partition(".")[0] for each in script.USES["vllm"]}
    imported = {
        alias.name
        for module in PACKAGE.values()
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vllm"
        for alias in node.names
    }
    assert {"LLM", "EngineDeadError"} <= imported <= names


def test_every_name_of_faiss_for_gpus_is_looked_up(script):
    import faiss

    used = {
        node.attr
        for module in PACKAGE.values()
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "faiss"
    }
    names = {each.name for each in script.USES["faiss-gpu"]}
    assert "knn_gpu" in used
    assert {name for name in used if not hasattr(faiss, name)} <= names
