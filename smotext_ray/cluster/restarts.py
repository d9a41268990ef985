"""A bound on restarts: Ray starts an actor anew as often as its process ends, without end.

What ends a process (the engine, the kernel or Ray for want of memory, a lost node) cannot be
told from inside it. So each process says when it begins, and one that begins too often, with
nothing done in between, ends the job with a sentence.

Whoever holds a `Restarts` imports this file too, so it takes no more than that needs.
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
Counts = tuple[dict[str, int], dict[str, str]]  # ends in vain, and what it is at, by actor


@contextmanager
def bounded_restarts(
    resources: ResourcesConfig, lower: str = "", counter: Any = None
) -> Iterator[Any]:
    """Bound what a job of Ray Data may do in vain; yields the handle of its `Restarts`.

    The datasets must be made inside, where Ray Data has settings of its own. Tells of the end
    of the job as `Stopped`.

    Parameters
    ----------
    resources : ResourcesConfig
    lower : str
        The setting to lower where memory is short, if there is one.
    counter : actor handle, optional
        Of the stage, which is a `Restarts` too and counts each restart. Without it there is an
        actor for this alone.

    Raises
    ------
    Stopped
        If an actor was started anew too often, or no block was finished for too long.
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
            mend = f"lower {lower}, or use" if lower else "use"
            sentence = (
                f"{sentence.removesuffix('.')}; Ray has ended {for_memory} processes for want of "
                f"memory meanwhile: {mend} machines with more of it."
            )
        raise Stopped(sentence) from error
    finally:
        if restarts is not counter:
            ray.kill(restarts)


@contextmanager
def _counts_kept(restarts: Any) -> Iterator[None]:
    """Keep the counts in this process, and give them back to a `Restarts` that begins anew.

    Where memory is short Ray ends that one too; with counts from 0 there would be no bound.
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

    known: Counts = ({}, {})
    while not over.wait(KEEP_SECONDS):
        # It is being started anew, or the cluster is gone, which others will tell.
        with suppress(RayError):
            known = ray.get(restarts.all_ends.remote(known), timeout=5)


class Restarts:
    """How often each actor has ended since it last got something done; lives in an actor.

    Parameters
    ----------
    told : callable, optional
        Is called at each restart, with the actor's name and what it was at.
    """

    def __init__(self, told: Callable[[str, str], None] | None = None) -> None:
        self._told = told
        self._ends: Counter[str] = Counter()
        self._at: dict[str, str] = {}
        self._is_whole = not _is_begun_anew()

    def all_ends(self, known: Counts) -> Counts:
        """Ends and whereabouts of all actors; ``known`` are those of an earlier life of this."""
        if not self._is_whole:
            self._ends, self._at = Counter(known[0]), dict(known[1])
            self._is_whole = True
        return dict(self._ends), self._at

    def begin(self, actor: str, name: str = "") -> tuple[int, str] | None:
        """A process of an actor begins: how many ended before it in vain, and at what.

        None while that is not known.
        """
        if not self._is_whole:
            return None
        if actor in self._at:
            self._ends[actor] += 1
            if self._told:
                self._told(name, self._at[actor])
        return self._ends[actor], self._at.setdefault(actor, "")

    def at(self, actor: str, what: str) -> None:
        """What the actor takes up now."""
        self._at[actor] = what

    def done(self, actor: str) -> None:
        """The actor got something done: the ends before it were not in vain."""
        self._ends[actor] = 0


class Lasting:
    """An actor for Ray Data, in processes that may end; but not over and over.

    A constructor that fails is tried again in a new process: what it took of a GPU is only
    given back at the end of the old one.

    Parameters
    ----------
    actor : class
    given : dict
        For its constructor.
    name : str
        What messages call it.
    restarts : actor handle
        Of `bounded_restarts`.
    most : int
        Restarts in a row with nothing done in between.

    Raises
    ------
    Stopped
    """

    def __init__(
        self, actor: Any, given: dict[str, Any], name: str, restarts: Any, most: int
    ) -> None:
        import ray

        hide_other_gpus()  # before torch is imported
        self._restarts = restarts
        while (begun := ray.get(restarts.begin.remote(actor_id(), name))) is None:
            time.sleep(KEEP_SECONDS)
        ends, at = begun
        if ends > most:
            raise Stopped(
                f"The {name} ended {ends} times in a row with nothing done in between"
                f"{at and ', last at '}{at}; the logs of its processes are with Ray's, on "
                f"{ray.util.get_node_ip_address()}."
            )
        try:
            with quick_imports():
                self._actor = actor(**given)
        except UserError:
            raise
        except Exception as error:
            if ends < most:
                leave()
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


def lasting(
    actor: Any, given: dict[str, Any], name: str, restarts: Any, resources: ResourcesConfig
) -> dict[str, Any]:
    """A lasting actor as options of ``Dataset.map`` and ``Dataset.map_batches``."""
    kwargs: dict[str, Any] = {"actor": actor, "given": given, "name": name, "restarts": restarts}
    # A row that ends its process is to be set aside before this bound is reached.
    kwargs["most"] = 2 * resources.max_attempts
    shown = type(name.capitalize(), (Lasting,), {})  # by its name in Ray's own tables
    return {"fn": shown, "fn_constructor_kwargs": kwargs}


def tell_done(restarts: Any) -> None:
    """Tell a `Restarts` that this actor got something done, and wait until it knows."""
    import ray

    ray.get(restarts.done.remote(actor_id()))


def actor_id() -> str:
    """Of the actor that this process is; a restart keeps it."""
    import ray

    return str(ray.get_runtime_context().get_actor_id())


def _is_begun_anew() -> bool:
    """Whether this process is an actor, and not the first of it."""
    import ray

    context = ray.get_runtime_context() if ray.is_initialized() else None
    return bool(context and context.get_actor_id() and context.was_current_actor_reconstructed)


def kind_and_message(error: Exception) -> str:
    """Its kind and what it says, in one line."""
    kind, said = type(error).__name__, one_line(error, most=500)
    return said if said == kind else f"{kind}: {said}"


def leave() -> None:
    """End this process, after an exception, so that Ray starts the actor in a new one.

    Ray Data takes an exception for the end of the job.
    """
    traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def ended_for_memory(since: float) -> int:
    """Processes that Ray has ended for want of memory, in the whole cluster."""
    try:
        # The public API for this asks the dashboard, which a Ray started here does not have.
        from ray._private.state import state
        from ray.core.generated import common_pb2, gcs_pb2

        table = state._connect_and_get_accessor().get_worker_table()
        workers = [gcs_pb2.WorkerTableData.FromString(row) for row in table]
        for_memory = common_pb2.WorkerExitType.Value("NODE_OUT_OF_MEMORY")
    except Exception:
        log.debug("Ray does not tell how processes ended", exc_info=True)
        return 0  # another Ray, or none any more: the sentence does without
    return sum(w.exit_type == for_memory and w.end_time_ms >= 1000 * since for w in workers)


def _why_stopped(error: BaseException, resources: ResourcesConfig) -> str | None:
    """The sentence for an error that this module has caused; None for others."""
    from ray.data.exceptions import ExecutionTimeoutError
    from ray.exceptions import OutOfMemoryError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OutOfMemoryError):
            return "A task ran out of memory each time that it was tried."
        if isinstance(cause, ExecutionTimeoutError):
            return (
                f"No block was finished for {resources.stall_timeout_minutes:g} minutes; if the "
                "models take longer to load, or the machines to come, raise "
                "resources.stall_timeout_minutes."
            )
        # Of an actor that failed in its constructor only the traceback's text comes back.
        told = re.search(r"^(?:smotext_ray\.errors\.)?Stopped: (.+)$", str(cause), re.MULTILINE)
        if told:
            return told[1]
        cause = cause.__cause__ or cause.__context__
    return None


def _name_of(block: Any) -> str:
    """What a block is called: its first and last id, or the file of a plan."""
    if isinstance(block, dict):
        return str(block["file"])
    name = "sample_id" if "sample_id" in block.column_names else "id"
    if not len(block):
        return f"no {name}"
    return f"{name} {block[name][0].as_py()} to {block[name][-1].as_py()}"
