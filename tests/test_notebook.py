"""examples/quickstart.ipynb runs as it stands, with the real small models, and is quiet."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "examples" / "quickstart.ipynb"


def cells() -> list[dict]:
    return [c for c in json.loads(FILE.read_text())["cells"] if c["cell_type"] == "code"]


def test_the_stored_outputs_are_those_of_one_run_from_top_to_bottom():
    assert [cell["execution_count"] for cell in cells()] == list(range(1, len(cells()) + 1))
    for cell in cells():
        ast.parse("".join(cell["source"]))
        assert all(output["output_type"] in ("execute_result", "display_data", "stream")
                   and output.get("name") != "stderr" for output in cell["outputs"])  # fmt: skip
    text = FILE.read_text()
    assert "/home/" not in text and "/tmp/" not in text and "Traceback" not in text


@pytest.mark.slow
def test_it_runs_and_prints_nothing_but_results_and_bars(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    import nbformat

    notebook = nbformat.read(FILE, 4)
    run = nbclient.NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    run.execute()  # raises on an error in a cell
    said = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    bars = "".join(out["text"] for out in said if out["output_type"] == "stream")
    lines = [line for line in bars.replace("\r", "\n").split("\n") if line.strip()]
    stages = ("embed:", "plan:", "decode round-")
    assert lines and all(line.startswith(stages) for line in lines), bars
    tables = [out["data"]["text/plain"] for out in said if "text/html" in out.get("data", {})]
    points, synthetic, lineage = tables
    assert len(points.splitlines()) == 1 + 5
    rows = [line for line in synthetic.splitlines() if line.endswith("compliment")]
    assert 1 <= len(rows) <= 4 and all(line.split()[0].isdecimal() for line in rows)
    assert "cosine to the point" in lineage.replace("\\\n", "")
    assert any("image/png" in out.get("data", {}) for out in said)
