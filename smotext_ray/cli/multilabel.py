"""``smotext evaluate`` of a run whose rows have several labels."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smotext_ray.cli.terminal import say
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest

# Options that apply only to rows with one class each.
OF_CLASSES = ("variants", "teacher", "canaries", "compare", "corpus")


def evaluate_labels(
    options: argparse.Namespace,
    run: Run,
    manifest: Manifest,
    load_encode: Callable[[RunConfig], Callable[[list[str]], Any]],
) -> int:
    """Measure a run; writes report.json and report.html."""
    from functools import partial

    from smotext_ray.evaluation.multilabel.data import read_run, read_test
    from smotext_ray.evaluation.multilabel.evaluate import evaluate
    from smotext_ray.evaluation.multilabel.label_only import NAME, label_only
    from smotext_ray.evaluation.multilabel.page import page, summary_lines
    from smotext_ray.evaluation.reader import Reader
    from smotext_ray.evaluation.report.directory import PAGE, check_directory, write_json
    from smotext_ray.pipeline.on_ray import ON_RAY
    from smotext_ray.run.log import log_to_run
    from smotext_ray.utils.files import whole_file

    _check(options)
    config, output = manifest.config, Path(options.output)
    check_directory(output)
    held_out = read_test(run, options.test, options.text_column, options.label_column)
    log_to_run(run)
    encode = Reader(partial(load_encode, config), config)
    controls = {} if options.quick else {NAME: label_only(run, config, encode, ON_RAY)}
    material = read_run(run, held_out, encode)
    report = evaluate(
        manifest, material, range(options.seeds), options.classifiers, controls, options.test
    )
    write_json(report, output)
    with whole_file(output / PAGE) as handle:
        handle.write(page(report).encode("utf-8", "xmlcharrefreplace"))
    say("\n".join(summary_lines(report)))
    say(f"The report is in {output / PAGE}; its numbers are in report.json next to it.")
    return 0


def _check(options: argparse.Namespace) -> None:
    refused = [f"--{name}" for name in OF_CLASSES if getattr(options, name)]
    refused += ["--classifiers bert"] if "bert" in options.classifiers else []
    if refused:
        raise UserError(
            f"{refused[0]} is for rows of one class each, but those of this run have several "
            "labels; leave it out."
        )
