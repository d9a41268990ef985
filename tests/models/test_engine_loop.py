"""One engine, many callers: each gets its own answers, and nobody waits for a block's end."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from fake_engine import EngineDeadError, fake_vllm
from hypothesis import given, settings
from hypothesis import strategies as st

from smotext_ray.models.engine_loop import EngineDead, EngineLoop


class Stepped:
    """A prompt is a number of steps; ``allow`` lets that many be made."""

    def __init__(self, steps=10**9):
        self.llm_engine = self
        self.left = {}
        self.allowed = threading.Semaphore(steps)
        self.widths = []
        self.numbers = itertools.count()
        self.error = None
        self.engine_core = None  # it computes in this process

    def allow(self, steps):
        self.allowed.release(steps)

    def enqueue(self, prompts, sampling, lora_request, use_tqdm):
        ((prompt,), (params,)) = prompts, sampling
        if prompt == "dead":
            raise EngineDeadError("gone")
        if prompt < 1:
            raise ValueError(f"refused {prompt}")
        number = str(next(self.numbers))
        self.left[number] = [prompt, params]
        return [f"{number}-0a1b2c3d"]

    def step(self):
        self.allowed.acquire()
        self.widths.append(len(self.left))
        if self.error:
            raise self.error
        outputs = []
        for number, state in list(self.left.items()):
            state[0] -= 1
            outputs.append(SimpleNamespace(request_id=number, finished=not state[0], of=state[1]))
            if not state[0]:
                del self.left[number]
        return outputs


@pytest.fixture(autouse=True)
def no_vllm(monkeypatch):
    fake_vllm(monkeypatch)


@settings(max_examples=20)
@given(
    st.lists(st.lists(st.integers(-1, 9), max_size=6), min_size=1, max_size=8),
    st.none() | st.integers(1, 9),
)
def test_each_caller_gets_its_own_answers_in_order(calls, most_at_first):
    loop = EngineLoop(Stepped(), None, most_at_first)
    with ThreadPoolExecutor(len(calls)) as pool:
        asked = [
            pool.submit(loop.answer, steps, [(caller, place) for place in range(len(steps))])
            for caller, steps in enumerate(calls)
        ]
        for caller, (steps, answers) in enumerate(zip(calls, asked, strict=True)):
            for place, (n, answer) in enumerate(zip(steps, answers.result(60), strict=True)):
                if n < 1:
                    assert str(answer) == f"refused {n}"
                else:
                    assert answer.of == (caller, place)


def test_a_second_call_joins_the_first_and_may_be_done_before_it():
    llm = Stepped(steps=0)
    loop = EngineLoop(llm)
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(loop.answer, [100], ["long"])
        llm.allow(3)
        while len(llm.widths) < 3:
            pass
        short = pool.submit(loop.answer, [2, 2], ["a", "b"])
        llm.allow(5)
        assert [answer.of for answer in short.result(60)] == ["a", "b"]
        assert not long.done()
        llm.allow(100)
        assert long.result(60)[0].of == "long"
    assert max(llm.widths) == 3 and sum(llm.widths) == 104
    assert loop.finished == 3


def ask_in_order(llm, loop, pool, *calls):
    """Calls that reach the engine in this order; it makes no step meanwhile."""
    futures = []
    for of, steps in enumerate(calls):
        futures.append(pool.submit(loop.answer, steps, [of] * len(steps)))
        while len(llm.left) < len(calls[0]) or loop._calls.qsize() < of:
            time.sleep(0.001)
    return futures


def test_until_the_first_call_is_answered_later_ones_take_only_its_free_slots():
    llm = Stepped(steps=0)
    loop = EngineLoop(llm, None, most_at_first=3)
    with ThreadPoolExecutor(3) as pool:
        first, *others = ask_in_order(llm, loop, pool, [2, 4, 9], [1, 9, 9], [9] * 6)
        llm.allow(100)
        answers = [call.result(60) for call in (first, *others)]
    assert [[answer.of for answer in call] for call in answers] == [[0] * 3, [1] * 3, [2] * 6]
    # Until step 9 three at a time, then all: the third call did not wait for the second.
    assert llm.widths[:9] == [3] * 9
    assert max(llm.widths) > 3


def test_a_first_call_is_not_held_back_however_many_prompts_it_has():
    llm = Stepped(steps=0)
    loop = EngineLoop(llm, None, most_at_first=2)
    with ThreadPoolExecutor(2) as pool:
        first, second = ask_in_order(llm, loop, pool, [5] * 7, [1])
        llm.allow(100)
        assert len(first.result(60)) == 7 and len(second.result(60)) == 1
    assert llm.widths == [7] * 5 + [1]


@pytest.mark.parametrize("most_at_first", [None, 1])
def test_all_callers_are_told_of_a_dead_engine_then_and_later(most_at_first):
    llm = Stepped(steps=0)
    loop = EngineLoop(llm, None, most_at_first)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(loop.answer, [5, 5], ["x", "y"]) for _ in range(3)]
        llm.error = RuntimeError("no memory")
        llm.allow(1000)
        for call in calls:
            with pytest.raises(EngineDead, match="RuntimeError: no memory"):
                call.result(60)
    llm.error = None
    with pytest.raises(EngineDead, match="no memory"):
        loop.answer([1], ["z"])


def test_an_engine_that_dies_while_it_takes_prompts_in():
    loop = EngineLoop(Stepped())
    with pytest.raises(EngineDead, match="gone"):
        loop.answer([3, "dead", 3], ["a", "b", "c"])
    with pytest.raises(EngineDead, match="gone"):
        loop.answer([3], ["a"])


def test_a_caller_that_asks_nothing_is_answered():
    assert EngineLoop(Stepped(steps=0)).answer([], []) == []
