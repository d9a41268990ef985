"""Train a bridge in several processes: on Ray, on one or more machines, or with torchrun.

Ray Train or torchrun puts the workers in a torch process group (gloo on CPU, NCCL on GPU); the loop
in ``train`` does the rest. Each worker computes its share of a step's batches, so the result does
not depend on the number of workers.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smotext_ray.cluster.session import Cluster, connect
from smotext_ray.errors import UserError
from smotext_ray.models.bridge import Bridge
from smotext_ray.training.config import TrainConfig
from smotext_ray.training.data import split_held_out
from smotext_ray.training.train import Examples, run_steps

if TYPE_CHECKING:
    from ray.train import ScalingConfig

MARKER_FILE = ".seen_by_all"
MARKER_PATIENCE_S = 30.0  # network file systems may show a new file late
POLL_SECONDS = 0.5


@contextmanager
def torchrun_group() -> Iterator[bool]:
    """Join torchrun's process group, if torchrun started this process.

    Yields
    ------
    bool
        Whether this is the process that prints.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield True
        return
    import torch
    from torch import distributed

    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    _end_with_parent()
    try:
        yield distributed.get_rank() == 0
    finally:
        distributed.destroy_process_group()


def _end_with_parent() -> None:
    """End this process when torchrun is gone: otherwise it would survive a kill -9 of torchrun."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def train_on_ray(
    texts: Examples,
    config: TrainConfig,
    output: Path,
    workers: int,
    use_gpu: bool | None = None,
    *,
    held_out: Examples | None = None,
    cpus_per_worker: int = 1,
    max_failures: int = 3,
    compile_llm: bool = False,
    cache: Path | None = None,
    log: Callable[[str], Any] = print,
) -> Bridge:
    """Train a bridge with several workers, or resume the training in ``output``.

    Parameters
    ----------
    texts : sequence of str, in stage 2 of Task, in stage 3 of Preference
    config : TrainConfig
        A training can be resumed with a different number of workers, or without Ray.
    output : Path
        As for ``train``. With several machines it must be a shared directory, with the same path on
        all of them and for this process (NFS, Lustre, a mounted bucket).
    workers : int
        Number of processes, each with its own models.
    use_gpu : bool, optional
        One GPU per worker, or none. Default: GPUs if the cluster has any.
    cpus_per_worker : int, default=1
        CPUs that Ray reserves per worker; also its number of threads.
    max_failures : int, default=3
        How often to resume from the last checkpoint after a worker dies. Machines preempted with
        notice do not count.
    held_out, compile_llm, cache, log
        As for ``train``; ``cache`` must be shared too.

    Returns
    -------
    Bridge
        The bridge in ``output``, ready for use.

    Raises
    ------
    UserError
        As from ``train``; also if the workers do not fit on the cluster, or do not all see
        ``output``.
    """
    if workers < 1:
        raise UserError(f"workers is {workers}; it must be at least 1.")
    if held_out is None:
        split_held_out(len(texts), config.held_out, config.seed)  # raises UserError early
    scaling = _scaling(connect(), workers, use_gpu, cpus_per_worker)
    import ray

    output = output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    with _marked(output) as marker, _lines_to(log) as lines:
        job = {
            "texts": ray.put((list(texts), held_out and list(held_out))),
            "config": config,
            "output": output,
            "marker": marker,
            "lines": lines,
            "options": {"compile_llm": compile_llm, "cache": cache and cache.absolute()},
        }
        _fit(job, scaling, max_failures, log)
    return Bridge.from_pretrained(output)


def _scaling(
    cluster: Cluster, workers: int, use_gpu: bool | None, cpus_per_worker: int
) -> ScalingConfig:
    """The scaling for Ray Train; UserError if Ray would wait for the resources forever."""
    from ray.train import ScalingConfig

    if use_gpu is None:
        use_gpu = cluster.gpus >= 1
    cpus = workers * cpus_per_worker
    if cluster.cpus < cpus or (use_gpu and cluster.gpus < workers):
        needs = f"{cpus} CPUs" + (f" and {workers} GPUs" if use_gpu else "")
        raise UserError(
            f"{workers} workers need {needs}, but the cluster has {cluster.cpus:g} CPUs and "
            f"{cluster.gpus:g} GPUs; use fewer workers or a larger cluster."
        )
    resources = {"CPU": cpus_per_worker} | ({"GPU": 1} if use_gpu else {})
    return ScalingConfig(num_workers=workers, use_gpu=use_gpu, resources_per_worker=resources)


def _fit(
    job: dict[str, Any], scaling: ScalingConfig, max_failures: int, log: Callable[[str], Any]
) -> None:
    """Run the workers to completion, resuming from the last checkpoint if one dies.

    Ray Train's ``max_failures`` would also retry errors that only the user can fix.
    """
    from ray.train import LoggingConfig, RunConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    # Relative model paths are resolved as in this process.
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    # Ray Train's default of one minute is too short for a busy machine to import torch: it would
    # restart the workers over and over.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    for failures in range(max_failures + 1):
        # Ray Train needs a directory for its own records; everything that matters is in the output.
        with tempfile.TemporaryDirectory() as records, _interruptible():
            run = RunConfig(storage_path=records, logging_config=LoggingConfig("ERROR"))
            trainer = TorchTrainer(
                _work, train_loop_config=job, scaling_config=scaling, run_config=run
            )
            try:
                trainer.fit()
                return
            except TrainingFailedError as error:
                _raise_user_error(error)
                if failures == max_failures:
                    raise
        log("a worker failed; all workers restart from the last checkpoint")


def _work(job: dict[str, Any]) -> None:
    """One worker, in Ray Train's process group."""
    import ray

    _require_marker(job["output"], job["marker"])
    texts, held_out = ray.get(job["texts"])
    run_steps(
        texts,
        job["config"],
        job["output"],
        held_out=held_out,
        log=job["lines"].add.remote,
        **job["options"],
    )


@contextmanager
def _marked(output: Path) -> Iterator[str]:
    """Put a marker file in ``output`` for the workers to find; yields its content."""
    marker = uuid.uuid4().hex
    (output / MARKER_FILE).write_text(marker)
    try:
        yield marker
    finally:
        (output / MARKER_FILE).unlink(missing_ok=True)


def _require_marker(output: Path, marker: str, patience_s: float = MARKER_PATIENCE_S) -> None:
    until = time.monotonic() + patience_s
    while True:
        try:
            if (output / MARKER_FILE).read_text() == marker:
                return
        except OSError:
            pass
        if time.monotonic() > until:
            raise UserError(
                f"A worker on {socket.gethostname()} does not see files "
                f"written to {output} elsewhere; "
                "use an --output on storage that all machines share."
            )
        time.sleep(0.2)


class _Lines:
    """Actor that passes log lines from the first worker to the driver."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        self._lines.append(line)

    def take(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines


@contextmanager
def _lines_to(log: Callable[[str], Any]) -> Iterator[Any]:
    """Pass the workers' lines to ``log`` during a ``with`` block; yields the actor's handle."""
    import ray

    # If its machine is lost, it restarts empty: lost lines must not stop the training.
    alive = {"max_restarts": -1, "max_task_retries": -1}
    lines = ray.remote(num_cpus=0, **alive)(_Lines).remote()
    stop = threading.Event()
    thread = threading.Thread(target=_pass_on, args=(lines, log, stop), daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        stop.set()
        thread.join()
        ray.kill(lines)


def _pass_on(lines: Any, log: Callable[[str], Any], stop: threading.Event) -> None:
    import ray

    stopped = False
    while not stopped:
        stopped = stop.wait(POLL_SECONDS)  # and fetch lines once more after it
        try:
            for line in ray.get(lines.take.remote(), timeout=10):
                log(line)
        except ray.exceptions.GetTimeoutError:
            continue
        except ray.exceptions.RayError:
            return


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make Ctrl-C raise KeyboardInterrupt during a ``with`` block.

    Ray Train installs its own handler, which stops the workers and then exits with code 0, as if
    training were done.
    """
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main else None
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)


def _raise_user_error(error: Exception) -> None:
    """Raise a worker's UserError, which Ray Train wraps in its own exceptions."""
    for failure in getattr(error, "worker_failures", {}).values():
        cause = getattr(failure, "_base_exc", failure)
        if isinstance(cause, UserError):
            raise cause from None
