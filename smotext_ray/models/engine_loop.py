"""Share one vLLM engine among many callers: prompts join the running batch.

An engine that gets one block of prompts at a time is nearly idle at the end of each, until the
longest text is done. Here one thread steps the engine and adds new prompts between steps, so that
the next blocks fill the slots of finished texts. On a CPU they wait for the first block, because a
step takes longer with more texts, and the first texts should come soon.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from smotext_ray.models.engine_watch import EngineWatch


class EngineDead(Exception):
    """The vLLM engine is dead; only a new process can recover."""


class _Call:
    """One caller's prompts and their results so far."""

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
    """The thread that does all of an engine's work.

    Parameters
    ----------
    llm : vllm.LLM
        Must not be used elsewhere while a call is in progress.
    lora_request : vllm.lora.request.LoRARequest, optional
        Applied to every prompt.
    most_at_first : int, optional
        Until the first call is answered, prompts of later calls only join while fewer than this
        number are in progress. Default: they always join.
    """

    def __init__(
        self, llm: Any, lora_request: Any = None, most_at_first: int | None = None
    ) -> None:
        self._llm = llm
        self._lora_request = lora_request
        self._most = most_at_first
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._first: _Call | None = None
        self._waiting: deque[tuple[_Call, int]] = deque()
        self._running: dict[str, tuple[_Call, int]] = {}  # by vLLM's request id
        self.finished = 0  # prompts
        self._why_dead = ""
        self._watch = EngineWatch(llm)
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    def answer(self, prompts: Sequence[Any], sampling: Sequence[Any]) -> list[Any]:
        """Answer prompts; blocks until all are done. Thread-safe.

        Parameters
        ----------
        prompts : sequence, length n
            In vLLM's format.
        sampling : sequence of vllm.SamplingParams, length n

        Returns
        -------
        list, length n
            vLLM's outputs, or the exception for a rejected prompt.

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
                # A failed step leaves requests behind, whose texts an in-process engine would
                # return for other prompts.
                self._why_dead = f"{type(error).__name__}: {error}"
                unanswered = [*self._running.values(), *self._waiting]
                for call in {id(call): call for call, _ in unanswered}.values():
                    call.done.set_exception(EngineDead(self._why_dead))
                self._running.clear()
                self._waiting.clear()

    def _take_in(self) -> None:
        """Pass prompts to vLLM, as many as may join; blocks if there are none at all."""
        self._begin_waiting()
        while not self._running or not self._calls.empty():
            self._receive(self._calls.get())
            self._begin_waiting()

    def _receive(self, call: _Call) -> None:
        if self._why_dead:
            call.done.set_exception(EngineDead(self._why_dead))
            return
        if self._most is not None and self._first is None:
            self._first = call
        self._waiting.extend((call, place) for place in range(len(call.prompts)))

    def _begin_waiting(self) -> None:
        while self._waiting and self._may_join(self._waiting[0][0]):
            self._begin(*self._waiting.popleft())

    def _may_join(self, call: _Call) -> bool:
        return self._most is None or call is self._first or len(self._running) < self._most

    def _begin(self, call: _Call, place: int) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            (own,) = self._llm.enqueue(
                [call.prompts[place]],
                [call.sampling[place]],
                lora_request=self._lora_request,
                use_tqdm=False,
            )
        except Exception as error:
            # A prompt sent while the engine is dying may get a socket error.
            if isinstance(error, EngineDeadError) or self._watch.has_ended():
                self._waiting.appendleft((call, place))  # so that it fails too
                raise
            self._put(call, place, error)
        else:
            # Outputs have only the number, without vLLM's suffix.
            self._running[own.partition("-")[0]] = call, place

    def _step(self) -> None:
        for output in self._llm.llm_engine.step():
            if output.finished:
                self.finished += 1
                self._put(*self._running.pop(output.request_id), output)

    def _put(self, call: _Call, place: int, answer: Any) -> None:
        call.put(place, answer)
        if call is self._first and not call.open:
            self._first = self._most = None
