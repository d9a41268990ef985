"""A sampler with an encoder and a decoder that load nothing."""

from __future__ import annotations

from fake_stages import Encoder

from smotext_ray import SMOTExT
from smotext_ray.models.engine import Candidates

ALL_PASS = {"min_cosine": -1, "same_class": False}


class Decoder:
    """A text of its own for each seed; remembers what it was asked for."""

    def __init__(self, text="new text"):
        self.text = text
        self.points = []

    def decode(self, points, seeds):
        self.points.append(points)
        return [Candidates([f"{self.text} {seed}"], ["stop"], [3]) for seed in seeds]


def rows(minority=8, majority=20, names=("rare", "common")):
    """Texts of two classes, and their labels."""
    texts = [f"{names[0]} text {i}" for i in range(minority)]
    texts += [f"{names[1]} text {i}" for i in range(majority)]
    return texts, [names[0]] * minority + [names[1]] * majority


def sampler(**given):
    """A sampler that is given its models, and lets all texts pass."""
    defaults = {"encoder": Encoder(), "decoder": Decoder(), "gate": ALL_PASS, "random_state": 0}
    return SMOTExT(**{**defaults, **given})
