"""A run that is stopped at any change that it makes to its files ends as if it had not been.

Every write, rename and delete is such a point, the renewals of the lease excepted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from crashing_store import URI, Bucket, Disk, Killed, process_on
from fake_run import HERE, fake_config, fakes_told, write_two_classes

from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.expand import ExpansionRequest, expand
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify

STORES = {"disk": Disk, "bucket": Bucket}
SOME = 12  # points of each case; all of them are tried in `make test-cluster`


@pytest.fixture(scope="module", autouse=True)
def fakes(tmp_path_factory):
    with fakes_told(tmp_path_factory.mktemp("fakes") / "stage"):
        yield


class Case:
    """A command on a corpus, and what it makes where nothing stops it."""

    def __init__(self, home: Path, store: str, command: str) -> None:
        self.corpus = home / "corpus.parquet"
        self.begun: Disk = STORES[store]()
        write_two_classes(self.corpus, 14, 5)
        plan = {"variant": "borderline"} if command != "raise" else {}
        self.config = fake_config(
            self.corpus,
            plan=plan,
            adapt={"minutes": 1 if command == "augment" else 0},
            gate={"reference_rows": 6},
            resources={"plan_points_per_file": 4, "embed_rows_per_block": 8},
        )
        self.command: Callable[[], Any] = self.augment
        if command != "augment":
            with process_on(self.begun):
                self.augment()
            self.command = self.raise_corn
        if command == "expand":
            write_two_classes(self.corpus, 14, 8)
            self.command = self.expand
        whole = copy.deepcopy(self.begun)
        with process_on(whole):
            self.command()
            self.points = whole.steps
            self.expected = made()

    def augment(self) -> None:
        rounds.augment(self.config, URI, **HERE)

    def expand(self) -> None:
        expand(URI, ExpansionRequest(input=str(self.corpus)), **HERE)

    def raise_corn(self) -> None:
        """Of which not all rows have an embedding yet."""
        expand(URI, ExpansionRequest(str(self.corpus), {"corn": 19, "ship": 14}), **HERE)

    def stopped_at(self, point: int) -> list[str]:
        """What is wrong with a run that was stopped there and then resumed."""
        store = copy.deepcopy(self.begun)
        with process_on(store, stop_at=point), pytest.raises(Killed):
            self.command()
        with process_on(store):
            self.command()
            found = made()
        return [what for what, value in self.expected.items() if found[what] != value]


def made() -> dict[str, Any]:
    """All that a run has made but its times: tables, counts, and whether it is sound."""
    run = Run(URI)
    manifest = Manifest.read(run)
    found: dict[str, Any] = {
        "rounds": [(entry.planned, entry.plan_files) for entry in manifest.rounds],
        "accepted": manifest.accepted(),
        "counts": manifest.class_counts,
        "stages": sorted(manifest.stages),
        "adapted": manifest.adapted,
        "expansions": [(e.new_rows, e.accepted) for e in manifest.expansions or []],
        "sound": [finding.check for finding in verify(run) if not finding.ok],
    }
    tables = [("embeddings", "id"), *((f"plan/{e.name}", "sample_id") for e in manifest.rounds)]
    tables += [(f"samples/{e.name}", "sample_id") for e in manifest.rounds]
    for directory, key in tables:
        found[directory] = run.table(*directory.split("/")).to_table().sort_by(key).to_pylist()
    with run.fs.open_input_file(run.at("augmented.parquet")) as stream:
        found["result"] = pq.read_table(stream).to_pylist()
    return found


@pytest.fixture(scope="module", params=["augment", "expand", "raise"])
def command(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=[*STORES])
def case(request, command, tmp_path_factory) -> Case:
    return Case(tmp_path_factory.mktemp("case"), request.param, command)


def test_it_is_whole_where_nothing_stops_it(case, command):
    assert case.expected["sound"] == [] and case.points > 50
    assert len(case.expected["result"]) == (33 if command == "raise" else 28)


@pytest.mark.slow
def test_a_sample_of_the_points(case):
    points = np.linspace(0, case.points - 1, SOME).astype(int).tolist()
    wrong = {point: case.stopped_at(point) for point in points}
    assert not any(wrong.values()), {point: what for point, what in wrong.items() if what}


@pytest.mark.long
def test_all_points(case):
    wrong = {point: case.stopped_at(point) for point in range(case.points)}
    print(f"{case.points} points")
    assert not any(wrong.values()), {point: what for point, what in wrong.items() if what}


@pytest.mark.long
def test_two_stops(case):
    """The second one while the first is made good."""
    for point in range(0, case.points, 5):
        for second in (1, 4, 9, 16, 25, 36):
            store = copy.deepcopy(case.begun)
            for stop_at in (point, second):
                try:
                    with process_on(store, stop_at=stop_at):
                        case.command()
                except Killed:
                    continue
            with process_on(store):
                case.command()
                found = made()
            wrong = [what for what, value in case.expected.items() if found[what] != value]
            assert not wrong, (point, second, wrong)
