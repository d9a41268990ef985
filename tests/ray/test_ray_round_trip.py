"""Tables of any schema, as datasets of Ray Data: their rows come back unchanged."""

from __future__ import annotations

import pyarrow as pa
import pytest
from generated_tables import fresh, round_trip, tables
from hypothesis import given, reject, settings

from smotext_ray.api import ray_data
from smotext_ray.config.schema import InputConfig
from smotext_ray.run.directory import Run

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def home(shared_ray, tmp_path_factory):
    return tmp_path_factory.mktemp("ray-data")


@given(table=tables())
@settings(max_examples=8)
def test_rows_of_any_schema_come_back(home, table):
    """The files that a dataset becomes, their way through a run, and the dataset that is read."""
    import ray

    try:
        ray.put(table)
    except (ValueError, NotImplementedError):  # such as list_view: no dataset can have it
        reject()
    source = Run(str(fresh(home) / "input"))
    ray_data._write_all(ray.data.from_arrow(table), source)
    round_trip(InputConfig(path=source.uri), home)
    found = ray.data.read_parquet(f"{home}/out.parquet", partitioning=None)
    after = pa.concat_tables(ray.get(found.to_arrow_refs()))
    assert after.schema.equals(table.schema)
    for name in table.column_names:
        assert after[name].to_pylist() == table[name].to_pylist()
