"""In this process, a bar follows the texts of a block while the decoder works on it."""

from __future__ import annotations

from contextlib import contextmanager

import fake_stages
from fake_run import fake_config, write_two_classes

from smotext_ray.models.engine import Candidates
from smotext_ray.pipeline import local, rounds
from smotext_ray.pipeline.given_models import given_models
from smotext_ray.pipeline.local import Local


def test_points_count_when_they_are_decoded_and_not_after_the_block(tmp_path, monkeypatch):
    seen: dict[str, list[int]] = {}
    look = None

    @contextmanager
    def bar(desc, total, rows):
        nonlocal look
        seen[desc] = []
        look = lambda: seen[desc].append(rows())  # noqa: E731
        yield
        look()

    class Decoder:
        finished = 7  # by another run before

        def decode(self, points, seeds):
            for _ in seeds:
                look()
                self.finished += 1
            return [Candidates([f"new {seed}"], ["stop"], [2]) for seed in seeds]

    monkeypatch.setattr(local, "polled_bar", bar)
    actors = given_models(fake_stages.Encoder, lambda _: Decoder(), fake_stages.MODELS)
    corpus = write_two_classes(tmp_path / "corpus.parquet", 9, 5)
    rounds.augment(fake_config(corpus), str(tmp_path / "run"), Local(actors))
    assert seen == {"embed": [14], "plan": [4], "decode round-1": [0, 1, 2, 3, 4]}
