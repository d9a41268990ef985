"""A process that is killed under an engine: every open call and every later one is told."""

from __future__ import annotations

import multiprocessing
import queue
import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from fake_engine import SyncMPClient, fake_vllm

from smotext_ray.models.engine_loop import EngineDead, EngineLoop

SOON = 10  # seconds; without the watch the calls wait for ever


class Remote(SyncMPClient):
    """vLLM's client and its LLM in one: it waits for outputs that a process would send."""

    def __init__(self):
        self.process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
        self.process.start()
        self.resources = SimpleNamespace(
            engine_manager=SimpleNamespace(processes=[self.process]), engine_dead=False
        )
        self.outputs_queue = queue.Queue()
        self.llm_engine = self.engine_core = self
        self.taken = 0
        self.refusal = None

    def enqueue(self, prompts, sampling, lora_request, use_tqdm):
        if self.refusal:
            raise self.refusal
        self.taken += 1
        return [f"{self.taken}-0a1b2c3d"]

    def step(self):
        outputs = self.outputs_queue.get()
        if isinstance(outputs, Exception):
            raise outputs
        return outputs


@pytest.fixture
def remote(monkeypatch):
    fake_vllm(monkeypatch)
    llm = Remote()
    yield llm
    llm.process.kill()


def ask(loop: EngineLoop, *prompts: str) -> Future:
    """Answer them in a thread that may wait for ever."""
    answers: Future = Future()

    def wait():
        try:
            answers.set_result(loop.answer(prompts, [0] * len(prompts)))
        except EngineDead as error:
            answers.set_exception(error)

    threading.Thread(target=wait, daemon=True).start()
    return answers


def test_open_calls_and_later_ones_are_told(remote):
    loop = EngineLoop(remote)
    calls = [ask(loop, "a", "b"), ask(loop, "c")]
    while remote.taken < 2:
        time.sleep(0.01)
    remote.process.kill()
    for call in (*calls, ask(loop, "d")):
        with pytest.raises(EngineDead, match="EngineDeadError"):
            call.result(SOON)


def test_answers_that_have_arrived_are_given(remote):
    loop = EngineLoop(remote)
    call = ask(loop, "a")
    remote.outputs_queue.put([SimpleNamespace(request_id="1", finished=True, text="made")])
    assert call.result(SOON)[0].text == "made"
    remote.process.kill()
    with pytest.raises(EngineDead):
        ask(loop, "b").result(SOON)


def test_a_broken_socket_of_a_dead_engine_is_no_error_of_the_prompt(remote):
    loop = EngineLoop(remote)
    remote.refusal = OSError("Socket operation on non-socket")
    # As long as the engine is there, the prompt is the cause.
    assert ask(loop, "a").result(SOON) == [remote.refusal]
    remote.process.kill()
    remote.process.join()
    with pytest.raises(EngineDead, match="OSError"):
        ask(loop, "b").result(SOON)


def test_an_engine_in_this_process_is_not_watched(monkeypatch):
    fake_vllm(monkeypatch)
    from smotext_ray.models.engine_watch import EngineWatch

    llm = SimpleNamespace(llm_engine=SimpleNamespace(engine_core=object()))
    assert EngineWatch(llm).has_ended() is False
