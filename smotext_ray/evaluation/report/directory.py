"""The directory of a report: report.json, report.html, and soft labels if there are any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from smotext_ray.errors import UserError
from smotext_ray.evaluation.report.page import plain, write_report
from smotext_ray.evaluation.report.schema import Report
from smotext_ray.utils.files import whole_file

REPORT, PAGE, SOFT_LABELS = "report.json", "report.html", "soft_labels.parquet"


def check_directory(output: Path) -> None:
    """Raise UserError if writing a report there would overwrite anything but a report."""
    if output.exists() and not output.is_dir():
        raise UserError(f"The output {output} is a file; name a directory.")
    if not output.is_dir() or (output / REPORT).is_file():
        return
    # A hidden file may be left over from writing a first report that was killed.
    if any(not file.name.startswith(".") for file in output.iterdir()):
        raise UserError(
            f"The output directory {output} has files but no report; name an empty or new one."
        )


def write_json(report: Mapping[str, Any], output: Path) -> None:
    """Write report.json; done first, because it marks the directory as one to overwrite."""
    output.mkdir(parents=True, exist_ok=True)
    with whole_file(output / REPORT) as handle:
        text = json.dumps(plain(dict(report)), allow_nan=False, default=str, indent=1)
        handle.write(text.encode("utf-8", "replace"))


def write(report: Report, output: Path, soft_labels: pa.Table | None = None) -> None:
    """Write a report into a directory, which is created; an existing report is replaced.

    Parameters
    ----------
    report : Report
    output : Path
        A directory that passes `check_directory`.
    soft_labels : pyarrow.Table, optional
    """
    write_json(report, output)
    write_report(report, output / PAGE)
    if soft_labels is None:
        (output / SOFT_LABELS).unlink(missing_ok=True)
    else:
        with whole_file(output / SOFT_LABELS) as handle:
            pq.write_table(soft_labels, handle)
