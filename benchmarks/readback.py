"""Do the texts of a run read their own points, or would any point of the class do?

Re-encodes the accepted texts of a run and prints their mean cosine to their own point, to
the point of another sample of their class, and to the point of any other sample.

    .venv/bin/python benchmarks/readback.py runs/demo
"""

import json
import sys

import numpy as np
import pyarrow as pa

from smotext_ray.models.load import load_encoder
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.tables import matrix


def main(uri: str) -> None:
    run = Run(uri)
    config = Manifest.read(run).config
    samples = run.table("samples").to_table().sort_by("sample_id")
    plan = run.table("plan").to_table(columns=["sample_id", "point"]).sort_by("sample_id")
    accepted = pa.array([status == "accepted" for status in samples["status"].to_pylist()])
    points = matrix(plan.filter(accepted)["point"])
    kept = samples.filter(accepted)
    labels = np.array(kept["label"].to_pylist())
    texts = load_encoder(config).encode(kept["text"].to_pylist())
    cosines = (texts / np.linalg.norm(texts, axis=1, keepdims=True)) @ (
        points / np.linalg.norm(points, axis=1, keepdims=True)
    ).T
    other = ~np.eye(len(labels), dtype=bool)
    same_class = other & (labels[:, None] == labels[None, :])
    figures = {
        "points": len(samples),
        "accepted": len(labels),
        "cosine_to_own_point": float(np.diag(cosines).mean()),
        "cosine_to_a_point_of_the_class": float(cosines[same_class].mean()),
        "cosine_to_any_other_point": float(cosines[other].mean()),
        "own_point_is_nearest": float((cosines.argmax(1) == np.arange(len(labels))).mean()),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: readback.py RUN")
    main(sys.argv[1])
