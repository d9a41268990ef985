"""The files that people start clusters and jobs with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import yaml

ROOT = Path(__file__).parent.parent


def test_cluster_yaml_fits_rays_own_schema():
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    cluster = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    jsonschema.validate(cluster, schema)
    assert cluster["head_node_type"] in cluster["available_node_types"]


def test_the_job_takes_the_arguments_of_augment(tmp_path):
    arguments = ["--input", tmp_path / "none.csv", "--output", tmp_path / "run"]
    job = subprocess.run(
        [sys.executable, ROOT / "jobs" / "augment.py", *arguments], capture_output=True, text=True
    )
    assert job.returncode == 2
    assert "does not exist" in job.stderr
