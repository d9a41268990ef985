"""A pickle in a parquet file of a stranger is never loaded, though Ray knows how to."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_run import build, corpus_table

from smotext_ray.cli.main import main
from smotext_ray.errors import UserError
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.result import write_result

pytestmark = pytest.mark.usefixtures("own_log")


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "was-here"


@pytest.fixture
def trapped(mark):
    """Adds a column that does what `Trap` says when it is turned into Python objects."""
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectArray

    def add(table: pa.Table) -> pa.Table:
        return table.append_column(
            "extra", ArrowPythonObjectArray.from_objects([Trap(mark)] * len(table))
        )

    probe = add(pa.table({"a": [1]}))
    probe.to_pylist()
    assert mark.exists()  # the trap works
    mark.unlink()
    return add


@pytest.fixture
def run(tmp_path) -> Run:
    return build(tmp_path, {"grain": 3})


def change(path: str, edit) -> None:
    pq.write_table(edit(pq.read_table(path)), path)


def first(run: Run, *parts: str) -> str:
    return str(sorted(Path(run.at(*parts)).glob("*.parquet"))[0])


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_command_refuses_samples_with_a_pickle(command, run, trapped, mark, capsys):
    change(first(run, "samples", "round-1"), trapped)
    code = main([command, run.uri])
    err = capsys.readouterr().err
    assert not mark.exists()
    assert code == 2 and "arrow_pickled_object" in err


@pytest.mark.parametrize("stage", ["corpus", "embeddings", "plan/round-1", "samples/round-1"])
def test_every_table_of_a_run_is_checked(stage, run, trapped, mark):
    change(first(run, *stage.split("/")), trapped)
    with pytest.raises(UserError, match="arrow_pickled_object"):
        run.table(*stage.split("/")).to_table().to_pylist()
    with pytest.raises(UserError, match="arrow_pickled_object"):
        run.read_table(first(run, *stage.split("/")))
    assert not mark.exists()


def test_only_the_first_file_counts_and_the_others_are_cast_to_it(run, trapped, mark):
    name = first(run, "samples", "round-1")
    last = Path(name).with_name("z.parquet")
    pq.write_table(trapped(pq.read_table(name)), last)
    assert "extra" not in run.table("samples", "round-1").to_table().to_pylist()[-1]
    assert not mark.exists()


def test_a_result_is_not_made_of_a_corpus_with_a_pickle(run, trapped, mark):
    change(first(run, "corpus"), trapped)
    with pytest.raises(UserError, match="arrow_pickled_object"):
        write_result(run, Manifest.read(run), {"grain": 3})
    assert not mark.exists()


def test_an_input_with_a_pickle_is_refused(tmp_path, trapped, mark, capsys):
    pq.write_table(trapped(corpus_table()), tmp_path / "in.parquet")
    arguments = ["--text-column", "body", "--label-column", "topic", "--dry-run"]
    paths = ["--input", str(tmp_path / "in.parquet"), "--output", str(tmp_path / "out")]
    assert main(["augment", *paths, *arguments]) == 2
    assert not mark.exists()
    assert "column 'extra'" in capsys.readouterr().err
