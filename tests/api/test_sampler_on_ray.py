"""The sampler makes the same plan on Ray as in this process, and keeps the run where it is told."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from fake_run import fakes_by_default
from given_sampler import ALL_PASS, rows, sampler

from smotext_ray import SMOTExT
from smotext_ray.run.directory import Run
from smotext_ray.run.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def test_on_ray_the_same_points_are_made(shared_ray, tmp_path):
    texts, labels = rows()
    frame = pd.DataFrame({"text": texts, "page": range(len(texts))})
    here = sampler()
    here.fit_resample(texts, labels)
    output = tmp_path / "run"
    on_ray = SMOTExT(on_ray=True, gate=ALL_PASS, random_state=0, output=str(output))
    with fakes_by_default():
        x_new, y_new = on_ray.fit_resample(frame, labels)
        unkept = SMOTExT(on_ray=True, gate=ALL_PASS, random_state=0)
        again, _ = unkept.fit_resample(texts, labels)
    told = ["row", "sample_id", "source_id", "neighbor_id", "lam", "seed", "round"]
    pd.testing.assert_frame_equal(on_ray.lineage_[told], here.lineage_[told])
    assert y_new == labels + ["rare"] * 12 and list(x_new["text"])[28:] == again[28:]
    assert len(set(again[28:])) == 12
    run = Run(str(output))
    assert all(finding.ok for finding in verify(run)), verify(run)
    assert sorted(Path(tmp_path).iterdir()) == [output, tmp_path / "run-input"]
