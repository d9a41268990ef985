"""What is told of an error is what its cause said, in one line."""

from __future__ import annotations

import pytest

from smotext_ray.cli.failures import innermost, users_error
from smotext_ray.cluster.restarts import kind_and_message
from smotext_ray.errors import Stopped, UserError, one_line


def caused(outer, inner):
    outer.__cause__ = inner
    return outer


def test_a_users_error_is_found_in_what_is_wrapped_around_it():
    assert users_error(caused(RuntimeError("a"), caused(ValueError("b"), UserError("Do c.")))) == (
        "Do c."
    )
    text = "Traceback ...\nsmotext_ray.errors.UserError: Do c.\nmore"
    assert users_error(RuntimeError(text)) == "Do c."
    assert users_error(RuntimeError("a")) is None


def test_of_a_chain_the_innermost_that_says_something_is_told():
    chain = caused(RuntimeError("outer"), caused(ValueError("one\n  two"), KeyError()))
    assert innermost(chain) == "ValueError: two"
    assert innermost(KeyError()) == "KeyError"
    assert innermost(Stopped("It stopped.")) == "It stopped"
    ring = RuntimeError("a")
    ring.__cause__ = ring
    assert innermost(ring) == "RuntimeError: a"


def test_of_an_actors_traceback_the_actors_own_error_is_told():
    text = "Traceback\nValueError: in the actor\n\nThe above exception was the direct cause of\nx"
    assert innermost(RuntimeError(text)) == "ValueError: in the actor"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\n b."), "a b"),
        (ValueError(""), "ValueError"),
        (ValueError("x" * 9), "xxxxx ..."),
    ],
)
def test_an_error_in_one_line(error, line):
    assert one_line(error, most=5 if "x" in str(error) else 240) == line


def test_kind_and_message():
    assert kind_and_message(ValueError("no\nroom.")) == "ValueError: no room"
    assert kind_and_message(MemoryError()) == "MemoryError"
