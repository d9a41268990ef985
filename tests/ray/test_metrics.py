"""The dashboard asks for what is exported, and shows all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from smotext_ray.cluster.metrics import COUNTERS, GAUGES, TAGS

DASHBOARD = Path(__file__).parents[2] / "jobs" / "grafana" / "smotext.json"
# As Ray exports them; test_scrape.py sees them come out under these names.
EXPORTED = {f"ray_{name}_total": tags for name, (_, tags) in COUNTERS.items()} | {
    f"ray_{name}": () for name in GAUGES
}
QUERY = re.compile(r"(ray_\w+)\{([^}]*)\}")


@pytest.fixture(scope="module")
def dashboard():
    return json.loads(DASHBOARD.read_text())


def queries(dashboard):
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_each_metric_that_is_asked_for_is_exported_and_the_other_way_round(dashboard):
    asked = {name for expression in queries(dashboard) for name, _ in QUERY.findall(expression)}
    assert asked == set(EXPORTED)
    for expression in queries(dashboard):  # no name stands there without its run
        assert len(re.findall(r"ray_\w+", expression)) == len(QUERY.findall(expression))


def test_labels_are_tags_of_the_metric(dashboard):
    for expression in queries(dashboard):
        grouped = {
            label.strip()
            for labels in re.findall(r"by \(([^)]*)\)", expression)
            for label in labels.split(",")
        }
        for name, selector in QUERY.findall(expression):
            known = {*TAGS, *EXPORTED[name]}
            assert set(re.findall(r"(\w+)=", selector)) | grouped <= known, expression


def test_legends_name_labels_that_the_query_keeps(dashboard):
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            kept = re.search(r"by \(([^)]*)\)", target["expr"])[1].split(", ")
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= set(kept)


def test_it_can_be_imported_with_any_data_source(dashboard):
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert "ray_smotext_rows_total" in variables["run"]["query"]["query"]
    sources = [
        thing["datasource"]["uid"]
        for panel in dashboard["panels"]
        for thing in (panel, *panel["targets"])
    ]
    assert set(sources) == {"${datasource}"}
    assert dashboard["schemaVersion"] >= 39  # Grafana 10.4
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_panels_do_not_lie_on_each_other(dashboard):
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24


def test_no_label_of_the_corpus_is_a_tag():
    tags = {tag for _, own in COUNTERS.values() for tag in own} | set(TAGS)
    assert tags == {"run", "stage", "status", "reason", "actor"}
