"""Many callers, one vLLM engine: prompts join the batch that is running.

An engine that gets one block of prompts after the other runs nearly empty at the end of each,
until the longest text is done. Here one thread steps the engine, and takes in new prompts
between two steps, so that the next blocks fill the places of texts that are done.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from smotext_ray.models.engine_watch import EngineWatch


class EngineDead(Exception):
    """The vLLM engine is gone; only a new process helps."""


class _Call:
    """Prompts of one caller, and what was made of them so far."""

    def __init__(self, prompts: Sequence[Any], sampling: Sequence[Any]) -> None:
        self.prompts = prompts
        self.sampling = sampling
        self.answers: list[Any] = [None] * len(prompts)
        self.open = len(prompts)
        self.done: Future[list[Any]] = Future()

    def put(self, place: int, answer: Any) -> None:
        self.answers[place] = answer
        self.open -= 1
        if not self.open:
            self.done.set_result(self.answers)


class EngineLoop:
    """The thread that all of an engine's work is done in.

    Parameters
    ----------
    llm : vllm.LLM
        Used by nobody else while a call is being answered.
    lora_request : vllm.lora.request.LoRARequest, optional
        For every prompt.
    """

    def __init__(self, llm: Any, lora_request: Any = None) -> None:
        self._llm = llm
        self._lora_request = lora_request
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._running: dict[str, tuple[_Call, int]] = {}  # by vLLM's id of the request
        self._why_dead = ""
        self._watch = EngineWatch(llm)
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    def answer(self, prompts: Sequence[Any], sampling: Sequence[Any]) -> list[Any]:
        """Answer prompts; waits for the last. May be called from any number of threads.

        Parameters
        ----------
        prompts : sequence, length n
            As vLLM takes them.
        sampling : sequence of vllm.SamplingParams, length n

        Returns
        -------
        list, length n
            vLLM's outputs; where it refused a prompt, the exception.

        Raises
        ------
        EngineDead
        """
        if not prompts:
            return []
        call = _Call(prompts, sampling)
        self._calls.put(call)
        return call.done.result()

    def _run(self) -> None:
        while True:
            try:
                self._take_in()
                self._step()
            except Exception as error:
                # A step that fails leaves requests behind, whose texts an engine in this
                # process would give as those of others.
                self._why_dead = f"{type(error).__name__}: {error}"
                for call in {id(call): call for call, _ in self._running.values()}.values():
                    call.done.set_exception(EngineDead(self._why_dead))
                self._running.clear()

    def _take_in(self) -> None:
        """Pass all waiting calls on to vLLM; waits for one where nothing is running."""
        while not self._running or not self._calls.empty():
            call = self._calls.get()
            if self._why_dead:
                call.done.set_exception(EngineDead(self._why_dead))
            else:
                self._begin(call)

    def _begin(self, call: _Call) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        for place, (prompt, sampling) in enumerate(zip(call.prompts, call.sampling, strict=True)):
            try:
                (own,) = self._llm.enqueue(
                    [prompt], [sampling], lora_request=self._lora_request, use_tqdm=False
                )
            except Exception as error:
                # A prompt that meets the engine while it ends may get an error of the socket.
                if isinstance(error, EngineDeadError) or self._watch.has_ended():
                    self._running[""] = call, place  # so that it is told too
                    raise
                call.put(place, error)
            else:
                # Outputs have the number alone, without what vLLM adds to it.
                self._running[own.partition("-")[0]] = call, place

    def _step(self) -> None:
        for output in self._llm.llm_engine.step():
            if output.finished:
                call, place = self._running.pop(output.request_id)
                call.put(place, output)
