"""A report whose texts would run as scripts, if the page let them."""

from __future__ import annotations

from made_report import made_report

HOSTILE = [
    '</script><img src=x onerror="window.hacked = 1">',
    "<!-- <script>window.hacked = 1</script>",
    "]]>\u2028\u2029\x00\u202e \ud800 & &lt;b&gt; ${7*7} {{x}}",
    "a" * 400,
    "__proto__",
    "constructor",
]


def hostile_report():
    """Hostile in every place that holds a text."""
    report = made_report(samples=60)
    for i, sample in enumerate(report["samples"][:12]):
        text = HOSTILE[i % len(HOSTILE)]
        names = ["text", "source_text", "neighbor_text", "label", "reason", "status"]
        sample.update(dict.fromkeys(names, text))
    for place, name in [
        ("classes", "label"),
        ("rejections", "reason"),
        ("histograms", "name"),
    ]:
        for i, row in enumerate(report[place]):
            row[name] = HOSTILE[i % len(HOSTILE)]
    for i, point in enumerate(report["map"]["points"]):
        point.update(text=HOSTILE[i % 6], label=HOSTILE[i % 6])
    for name in ("arm", "classifier", "metric"):
        row = dict(report["utility"]["rows"][0])
        report["utility"]["rows"].append({**row, name: HOSTILE[0]})
    report["utility"]["recall"][0]["label"] = HOSTILE[0]
    report["fidelity"] = {text: {text: 0.5} for text in HOSTILE}
    report["privacy"]["rows"][0].update(name=HOSTILE[0], value=HOSTILE[1], note=HOSTILE[3])
    report["run"].update(uri=HOSTILE[0], llm=HOSTILE[3], encoder=HOSTILE[2])
    return report
