"""Stage 2 of training: its steps, and the LLM's own answers, with prompts padded on the left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gpu_shapes.training import losses_of, made_training, median_ms, run, timed_steps

STEPS = 5


def measure(toy: bool, home: Path) -> dict[str, Any]:
    """Five steps; and whether answers in a batch are those of each text by itself."""
    from smotext_ray.training.data import Task
    from smotext_ray.training.frozen import FrozenModels
    from smotext_ray.training.tasks import answer

    config, texts = made_training(toy, home)
    config = replace(config, stage=2, steps=STEPS, eval_every=STEPS, save_minutes=60)
    tasks = [Task(text, "w1 w2", " ".join(text.split()[::-1])) for text in texts]
    with timed_steps() as times:
        run(tasks, config, home / "tuned", home)
    frozen = FrozenModels(config)
    some = [" ".join(texts[0].split() * times) for times in (1, 2, 4)]  # of other lengths
    together = answer(some, ["w1 w2"] * len(some), frozen)
    by_themselves = [answer([text], ["w1 w2"], frozen)[0] for text in some]
    # In bfloat16 a batch rounds differently: a random LLM may choose another word late, not early.
    agree = [_shared_words(*pair) for pair in zip(together, by_themselves, strict=True)]
    if min(agree) == 0:
        raise AssertionError(f"answers in a batch are others: {together}, not {by_themselves}")
    line = (
        f"{median_ms(times):.0f} ms per step; answers in a batch share their first "
        f"{min(agree)} to {max(agree)} words with those of each text by itself"
    )
    return {
        "line": line,
        "step_ms": median_ms(times),
        "losses": losses_of(home / "tuned"),
        "shared_words": agree,
        "words": [len(text.split()) for text in by_themselves],
    }


def _shared_words(one: str, other: str) -> int:
    words = list(zip(one.split(), other.split(), strict=False))
    return next((i for i, (a, b) in enumerate(words) if a != b), len(words))
