"""The release of a run with epsilon, ``release.json``, written once, and points drawn from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from smotext_ray.config.schema import RunConfig
from smotext_ray.privacy.directions import read_directions
from smotext_ray.privacy.points import draw_points
from smotext_ray.privacy.release import Release
from smotext_ray.run.directory import Run
from smotext_ray.tables import fixed_size_list

FILE = "release.json"


def has_release(run: Run) -> bool:
    """Whether the noise was drawn and kept."""
    return run.has(FILE)


def read_release(run: Run) -> Release:
    """Read the release."""
    return Release.from_json(run.read(FILE))


def write_release(run: Run, release: Release) -> None:
    """Write the release atomically."""
    run.write(release.to_json(), FILE)


def point_tables(config: RunConfig, found: Release) -> Iterator[pa.Table]:
    """The points of a release as tables of ``id, label, embedding``."""
    kind = pa.array(found.labels).type
    first = 0
    for code, points in draw_points(
        found,
        read_directions(config.privacy),
        config.privacy,
        config.plan.seed,
        normalize=config.encoder.normalize,
    ):
        ids = np.arange(first, first + len(points))
        labels = pa.array([found.labels[code]] * len(points), kind)
        yield pa.table({"id": ids, "label": labels, "embedding": fixed_size_list(points)})
        first += len(points)
