"""Models that the caller has, as stages of a run in this process."""

from __future__ import annotations

import fake_stages
from fake_run import fake_config, write_two_classes

from smotext_ray.models.engine import Candidates
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.given_models import given_models
from smotext_ray.pipeline.local import Local


def test_given_models_are_asked_for_when_a_stage_needs_them(tmp_path):
    corpus = write_two_classes(tmp_path / "corpus.parquet", 14, 5)
    asked = []

    def encoder():
        asked.append("encoder")
        return fake_stages.Encoder()

    class Decoder:
        def decode(self, points, seeds):
            return [Candidates([f"new {seed}"], ["stop"], [2]) for seed in seeds]

    def decoder(config):
        asked.append("decoder")
        return Decoder()

    actors = given_models(encoder, decoder, fake_stages.MODELS)
    config, home = fake_config(corpus), str(tmp_path / "run")
    rounds.augment(config, home, Local(actors))
    assert asked == ["encoder", "decoder", "encoder"]  # the gate has the second
    rounds.augment(config, home, Local(actors))
    assert len(asked) == 3  # a finished run needs none
