"""A private run that is stopped at any change to its files releases its corpus once.

After a stop the same command resumes with the release that was written. If the stop came between
the charge and the release, the noise may have been drawn: the ledger keeps the charge, and resuming
takes a budget for another one. At no point is there a second release under one charge.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from crashing_store import PATH, URI, Bucket, Disk, Killed, process_on
from fake_run import HERE, fake_config, fakes_told, write_two_classes
from pyarrow import fs as pafs

from smotext_ray.config.schema import EncoderConfig
from smotext_ray.errors import UserError
from smotext_ray.pipeline import rounds
from smotext_ray.privacy.directions import principal_directions, write_directions
from smotext_ray.run import ledger
from smotext_ray.run.directory import Run
from smotext_ray.run.verify import verify

LEDGER = "store/ledger"
RELEASE = f"{PATH}/release.json"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    home = tmp_path_factory.mktemp("private")
    public = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    file = home / "public.safetensors"
    write_directions(principal_directions([public]), file, EncoderConfig(), "0", "made")
    privacy = {
        "epsilon": 4.0,
        "dimensions": 4,
        "directions": str(file),
        "classes": ["corn", "ship"],
        "ledger": "crash://store/ledger",
    }
    corpus = write_two_classes(home / "corpus.parquet", 14, 9)
    with fakes_told(home / "fakes"):
        yield fake_config(
            corpus,
            plan={"sampling_strategy": {"corn": 4, "ship": 3}},
            privacy=privacy,
            resources={"embed_rows_per_block": 8},
        )


@contextmanager
def machine(store: Disk, stop_at: int | None = None) -> Iterator[None]:
    """A new process, whose run and ledger are on the store."""
    with process_on(store, stop_at=stop_at), pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "open_filesystem", lambda uri: (pafs.PyFileSystem(store), LEDGER))
        yield


def charges(store: Disk) -> int:
    """Whole files of the ledger."""
    names = [name for name in store.files if name.startswith(f"{LEDGER}/")]
    return sum(name.endswith(".json") and "/_" not in name for name in names)


def released(store: Disk) -> bytes | None:
    file = store.files.get(RELEASE)
    return file.content if file else None


def with_budget(config, budget):
    privacy = config.privacy.model_copy(update={"budget": budget})
    return config.model_copy(update={"privacy": privacy})


@pytest.fixture(scope="module", params=[Disk, Bucket])
def store(request, config):
    """A store on which the run went through without a stop."""
    whole = request.param()
    with machine(whole):
        rounds.augment(config, URI, **HERE)
    assert charges(whole) == 1 and released(whole)
    return whole


def stopped_at(point, kind, config):
    """Stop a run at a change and go on; whether its noise was lost on the way."""
    store = kind()
    with machine(store, stop_at=point), pytest.raises(Killed):
        rounds.augment(config, URI, **HERE)
    first, paid = released(store), charges(store)
    assert paid == 1 or (paid == 0 and first is None)  # nothing is released that is not charged
    was_lost = paid == 1 and first is None
    with machine(store):
        if was_lost:
            with pytest.raises(UserError, match="whose noise was drawn and lost"):
                rounds.augment(config, URI, **HERE)
            assert released(store) is None and charges(store) == 1
            rounds.augment(with_budget(config, 6.5), URI, **HERE)
        else:
            rounds.augment(config, URI, **HERE)
        assert first in (None, released(store))
        assert charges(store) == 1 + was_lost
        assert [finding for finding in verify(Run(URI)) if not finding.ok] == []
        assert not any(f"{PATH}/{name}/" in path for path in store.files
                       for name in ("corpus", "clipped"))  # fmt: skip
    return was_lost


def around_the_release(store, config):
    """The changes from the charge to the stage that records the release."""
    steps = []
    probe = type(store)()
    with machine(probe), pytest.MonkeyPatch.context() as patch:
        step = type(probe).step

        def noted(self):
            before = charges(self), released(self) is not None, self.steps
            step(self)
            steps.append(before)

        patch.setattr(type(probe), "step", noted)
        rounds.augment(config, URI, **HERE)
    charged = next(number for paid, _, number in steps if paid)
    written = next(number for _, there, number in steps if there)
    return range(charged - 4, written + 6)


def test_at_every_change_around_the_release_it_is_charged_and_made_once(store, config):
    points = around_the_release(store, config)
    lost = [stopped_at(point, type(store), copy.deepcopy(config)) for point in points]
    assert any(lost) and not all(lost)


@pytest.mark.long
def test_at_every_change_of_the_run(store, config):
    for point in range(store.steps):
        stopped_at(point, type(store), config)


def test_the_manifest_of_a_killed_run_is_what_it_began_with(store, config):
    """Until the release, it may tell of the corpus, which is there too; from then on it may not."""
    content = json.loads(store.files[f"{PATH}/manifest.json"].content)
    assert content["input"]["rows"] == sum(n for _, n in content["input"]["class_counts"])
    assert "bad_rows" not in content["input"] or not content["input"]["bad_rows"]
