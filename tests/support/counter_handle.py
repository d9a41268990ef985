"""A stage's counter as its actors see it, without Ray: ``counter.add.remote(...)``."""

from __future__ import annotations

from types import SimpleNamespace

from smotext_ray.cluster.progress import Counter


class CounterHandle:
    def __init__(self):
        self.counter = Counter()

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self.counter, name))

    @property
    def rows(self):
        return self.counter.get()[0]

    @property
    def tokens(self):
        return self.counter.get()[1]
