"""Limit restarts: Ray restarts an actor whenever its process dies, forever.

A process cannot report what kills it (the engine, the kernel or Ray when memory runs out, a lost
node). So each process reports its start, and one that starts too often without progress in between
stops the job with an explanation.

Keep imports light: the process of a `Restarts` actor imports this module too.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from smotext_ray.cluster.gpus import hide_other_gpus
from smotext_ray.cluster.ray_data import settings_restored, surviving_actor
from smotext_ray.cluster.worker_start import quick_imports
from smotext_ray.errors import Stopped, UserError, one_line

if TYPE_CHECKING:
    from smotext_ray.config.schema import ResourcesConfig


log = logging.getLogger("smotext_ray")

KEEP_SECONDS = 1.0
# By actor: crashes without progress, crashes on single rows, and the current block.
Counts = tuple[dict[str, int], dict[str, int], dict[str, str]]


@contextmanager
def bounded_restarts(
    resources: ResourcesConfig, lower: str = "", counter: Any = None
) -> Iterator[Any]:
    """Limit a Ray Data job's restarts without progress; yields the handle of its `Restarts`.

    Create datasets inside the block, which has its own Ray Data settings. Raises `Stopped` if the
    job is stopped.

    Parameters
    ----------
    resources : ResourcesConfig
    lower : str
        The setting to lower if memory runs out, if any.
    counter : actor handle, optional
        The stage's counter, which is also a `Restarts` and counts each restart. By default, a
        separate actor is created.

    Raises
    ------
    Stopped
        If an actor restarted too often, or no block finished for too long.
    """
    import ray
    from ray.data import DataContext

    restarts = counter or surviving_actor(Restarts)
    began = time.time()
    try:
        with _counts_kept(restarts), settings_restored():
            context = DataContext.get_current()
            context.execution_no_progress_timeout_s = resources.stall_timeout_minutes * 60
            yield restarts
    except Exception as error:
        sentence = _why_stopped(error, resources)
        if sentence is None:
            raise
        for_memory = ended_for_memory(began)
        if for_memory:
            fix = f"lower {lower}, or use" if lower else "use"
            sentence = (
                f"{sentence.removesuffix('.')}; Ray killed {for_memory} processes that ran out of "
                f"memory: {fix} machines with more memory."
            )
        raise Stopped(sentence) from error
    finally:
        if restarts is not counter:
            ray.kill(restarts)


@contextmanager
def _counts_kept(restarts: Any) -> Iterator[None]:
    """Mirror the counts in this process, and restore them when a `Restarts` restarts.

    When memory runs out, Ray kills that actor too; counting from 0 again, there would be no limit.
    """
    over = threading.Event()
    thread = threading.Thread(target=_keep_counts, args=(restarts, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _keep_counts(restarts: Any, over: threading.Event) -> None:
    import ray
    from ray.exceptions import RayError

    known: Counts = ({}, {}, {})
    while not over.wait(KEEP_SECONDS):
        # It is restarting, or the cluster is gone, which others will report.
        with suppress(RayError):
            known = ray.get(restarts.all_ends.remote(known), timeout=5)


class Restarts:
    """How often each actor has died since its last progress; lives in an actor.

    Parameters
    ----------
    told : callable, optional
        Called at each restart, with the actor's name and its last block.
    """

    def __init__(self, told: Callable[[str, str], None] | None = None) -> None:
        self._told = told
        self._ends: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()
        self._at: dict[str, str] = {}
        self._on_one_row: set[str] = set()
        self._is_whole = not _is_restarted()

    def all_ends(self, known: Counts) -> Counts:
        """Crash counts and current blocks of all actors; ``known``: from before a restart."""
        if not self._is_whole:
            self._ends, self._alone = Counter(known[0]), Counter(known[1])
            self._at = dict(known[2])
            self._is_whole = True
        return dict(self._ends), dict(self._alone), self._at

    def begin(self, actor: str, name: str = "") -> tuple[int, int, str] | None:
        """Report the start of an actor's process; returns how many died before it without progress,
        how many died on single rows, and where the last one was.

        None while this is unknown.
        """
        if not self._is_whole:
            return None
        if actor in self._at:
            counts = self._alone if actor in self._on_one_row else self._ends
            counts[actor] += 1
            self._on_one_row.discard(actor)
            if self._told:
                self._told(name, self._at[actor])
        return self._ends[actor], self._alone[actor], self._at.setdefault(actor, "")

    def at(self, actor: str, what: str, one_row: bool = False) -> None:
        """Record the actor's current block, or the row that it tries by itself."""
        self._at[actor] = what
        (self._on_one_row.add if one_row else self._on_one_row.discard)(actor)

    def done(self, actor: str) -> None:
        """The actor made progress: reset its crash counts."""
        self._ends[actor] = self._alone[actor] = 0
        self._on_one_row.discard(actor)


class SupervisedActor:
    """An actor for Ray Data whose process may die, but not over and over.

    A failing constructor is retried in a new process: GPU memory is only freed when the old one
    ends.

    Parameters
    ----------
    actor : class
    given : dict
        Arguments of its constructor.
    name : str
        Its name in messages.
    restarts : actor handle
        From `bounded_restarts`.
    most : int
        Maximum consecutive restarts without progress, after failing constructors or single rows.
    most_in_blocks : int
        The same after crashes in blocks, several of which may have a row that causes it.

    Raises
    ------
    Stopped
    """

    def __init__(
        self,
        actor: Any,
        given: dict[str, Any],
        name: str,
        restarts: Any,
        most: int,
        most_in_blocks: int,
    ) -> None:
        import ray

        hide_other_gpus()  # before torch is imported
        self._restarts = restarts
        while (begun := ray.get(restarts.begin.remote(actor_id(), name))) is None:
            time.sleep(KEEP_SECONDS)
        ends, alone, at = begun
        if ends > most_in_blocks or alone > most:
            raise Stopped(
                f"The {name} crashed {ends + alone} times in a row without progress"
                f"{at and ', last at '}{at}; its logs are with Ray's, on "
                f"{ray.util.get_node_ip_address()}."
            )
        try:
            with quick_imports():
                self._actor = actor(**given)
        except UserError:
            raise
        except Exception as error:
            if ends < most:
                exit_process()
            raise Stopped(
                f"The {name} could not be started, {ends + 1} times in a row: "
                f"{kind_and_message(error)}."
            ) from error

    def __call__(self, block: Any) -> Any:
        import ray

        ray.get(self._restarts.at.remote(actor_id(), _name_of(block)))
        made = self._actor(block)
        self._restarts.done.remote(actor_id())
        return made


def supervised(
    actor: Any,
    given: dict[str, Any],
    name: str,
    restarts: Any,
    resources: ResourcesConfig,
    in_flight: int = 1,
) -> dict[str, Any]:
    """Options of ``Dataset.map`` and ``Dataset.map_batches`` for a supervised actor.

    ``in_flight``: the blocks that it works on concurrently.
    """
    kwargs: dict[str, Any] = {"actor": actor, "given": given, "name": name, "restarts": restarts}
    # Rows that crash their process should be quarantined before these limits are reached.
    kwargs["most"] = 2 * resources.max_attempts
    kwargs["most_in_blocks"] = max(2, in_flight) * resources.max_attempts
    shown = type(name.capitalize(), (SupervisedActor,), {})  # its name in Ray's tables
    return {"fn": shown, "fn_constructor_kwargs": kwargs}


def report_one_row(restarts: Any, what: str) -> None:
    """Report to a `Restarts` that one row is tried by itself, and wait for the acknowledgment."""
    import ray

    ray.get(restarts.at.remote(actor_id(), what, one_row=True))


def report_done(restarts: Any) -> None:
    """Report progress to a `Restarts`, and wait for the acknowledgment."""
    import ray

    ray.get(restarts.done.remote(actor_id()))


def actor_id() -> str:
    """ID of this process's actor; unchanged by restarts."""
    import ray

    return str(ray.get_runtime_context().get_actor_id())


def _is_restarted() -> bool:
    """Whether this process is a restarted actor."""
    import ray

    context = ray.get_runtime_context() if ray.is_initialized() else None
    return bool(context and context.get_actor_id() and context.was_current_actor_reconstructed)


def kind_and_message(error: Exception) -> str:
    """Class name and message on one line."""
    kind, said = type(error).__name__, one_line(error, most=500)
    return said if said == kind else f"{kind}: {said}"


def exit_process() -> None:
    """Exit this process after an exception, so that Ray restarts the actor in a new one.

    Ray Data would abort the job on an exception.
    """
    traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def ended_for_memory(since: float) -> int:
    """Number of processes in the cluster that Ray killed because memory ran out."""
    try:
        # The public API for this needs the dashboard, which a Ray started here does not have.
        from ray._private.state import state
        from ray.core.generated import common_pb2, gcs_pb2

        table = state._connect_and_get_accessor().get_worker_table()
        workers = [gcs_pb2.WorkerTableData.FromString(row) for row in table]
        for_memory = common_pb2.WorkerExitType.Value("NODE_OUT_OF_MEMORY")
    except Exception:
        log.debug("Ray does not report how processes died", exc_info=True)
        return 0  # another Ray version, or Ray is gone: leave it out of the message
    return sum(w.exit_type == for_memory and w.end_time_ms >= 1000 * since for w in workers)


def _why_stopped(error: BaseException, resources: ResourcesConfig) -> str | None:
    """The message for an error caused by this module; None for others."""
    from ray.data.exceptions import ExecutionTimeoutError
    from ray.exceptions import OutOfMemoryError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OutOfMemoryError):
            return "A task ran out of memory every time it was tried."
        if isinstance(cause, ExecutionTimeoutError):
            return (
                f"No block was finished for {resources.stall_timeout_minutes:g} minutes; if the "
                "models take longer to load, or machines longer to start, raise "
                "resources.stall_timeout_minutes."
            )
        # If an actor fails in its constructor, only the text of the traceback is available.
        told = re.search(r"^(?:smotext_ray\.errors\.)?Stopped: (.+)$", str(cause), re.MULTILINE)
        if told:
            return told[1]
        cause = cause.__cause__ or cause.__context__
    return None


def _name_of(block: Any) -> str:
    """Name of a block: its first and last id, or the file of a plan."""
    if isinstance(block, dict):
        return str(block["file"])
    name = "sample_id" if "sample_id" in block.column_names else "id"
    if not len(block):
        return f"no {name}"
    return f"{name} {block[name][0].as_py()} to {block[name][-1].as_py()}"
