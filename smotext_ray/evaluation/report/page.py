"""report.html: a report as one page that opens from disk.

The page is assembled from the parts in ``assets/``. It needs no network and could not use one: its
Content-Security-Policy allows only its own style and script, by hash. The report is embedded as
JSON and is only ever shown as text, because texts of a corpus or of a language model may look like
markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from smotext_ray.evaluation.report.words import ARM_GROUPS, CLASSIFIERS, METRICS
from smotext_ray.gate.reasons import REJECTED_IN_WORDS
from smotext_ray.utils.files import whole_file

SCRIPTS = ["dom.js", "charts.js", "histogram.js", "summary.js", "utility.js", "fidelity.js"]
SCRIPTS += ["map.js", "samples.js", "page.js"]
WORDS = {
    "reasons": REJECTED_IN_WORDS,
    "arms": [[group, list(arms.items())] for group, arms in ARM_GROUPS.items()],
    "classifiers": CLASSIFIERS,
    "metrics": METRICS,
}
# Characters that could end a script element early or open a comment in it.
MARKUP = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def write_report(report: Mapping[str, Any], file: Path) -> None:
    """Write the report as one self-contained HTML page.

    Parameters
    ----------
    report : mapping
        A `Report`, as in report.json. Numbers may be numpy types; non-finite ones are shown as not
        measured.
    file : Path
        Written atomically; its directory must exist.
    """
    # A path may contain bytes that are not UTF-8; they are replaced.
    page = _page(report).encode("utf-8", "xmlcharrefreplace")
    with whole_file(file) as handle:
        handle.write(page)


def _page(report: Mapping[str, Any]) -> str:
    style, script = _part("page.css"), "".join(_part(name) for name in SCRIPTS)
    uri = (report.get("run") or {}).get("uri", "")
    return Template(_part("page.html")).substitute(
        title=html.escape(f"SMOTExT report: {uri}" if uri else "SMOTExT report"),
        policy=_policy(style, script),
        style=style,
        script=script,
        report=_json(report),
        words=_json(WORDS),
    )


def _part(name: str) -> str:
    return (files("smotext_ray.evaluation.report") / "assets" / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Allow only the page's own style and script, and no way to turn text into markup."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src {source_hash(style)}",
            f"script-src {source_hash(script)}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def source_hash(source: str) -> str:
    """The hash by which a Content-Security-Policy names a style or script."""
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _json(value: Any) -> str:
    """JSON for a script element: ASCII, no markup, no NaN."""
    return json.dumps(plain(value), allow_nan=False, default=str).translate(MARKUP)


def plain(value: Any) -> Any:
    """``value`` as plain JSON values: no numpy types, and None for non-finite numbers."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
