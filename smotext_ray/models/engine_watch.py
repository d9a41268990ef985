"""Detect the death of vLLM's engine process, so that waiting callers fail.

On GPUs EngineCore is a separate process. If it is killed (out of memory, driver crash), vLLM marks
its client as dead but leaves the caller waiting for the next output forever; exceptions in
EngineCore and the death of tensor-parallel workers are reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any


class EngineWatch:
    """Stops the wait for an engine's outputs when its process has died.

    Parameters
    ----------
    llm : vllm.LLM
        An in-process engine is not watched.
    """

    def __init__(self, llm: Any) -> None:
        from vllm.v1.engine.core_client import SyncMPClient

        client = llm.llm_engine.engine_core
        self._processes: Sequence[BaseProcess] = ()
        if isinstance(client, SyncMPClient):
            self._processes = client.resources.engine_manager.processes
            Thread(target=self._tell, args=(client,), name="engine-watch", daemon=True).start()

    def has_ended(self) -> bool:
        """Whether the engine's process is gone; False for an engine in this process."""
        return bool(wait([process.sentinel for process in self._processes], timeout=0))

    def _tell(self, client: Any) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        wait([process.sentinel for process in self._processes])
        # Outputs that have already arrived come first.
        client.outputs_queue.put(EngineDeadError())
