"""The command line of evaluation: ``smotext evaluate`` and ``smotext canaries``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from smotext_ray.cli.terminal import say
from smotext_ray.config.choices import ClassifierName, OtherVariant
from smotext_ray.errors import UserError

if TYPE_CHECKING:
    from smotext_ray.run.manifest import Manifest

# Names only, to keep the command line's imports light.
CLASSIFIERS = get_args(ClassifierName)


def add_evaluation_commands(commands: Any, command: Callable[..., Any]) -> None:
    """Add the commands to those of ``smotext``.

    Parameters
    ----------
    commands : subparsers of argparse
    command : callable
        Adds a command, given a name, a function that returns the exit code, and a help text.
    """
    worth = command(commands, "evaluate", evaluate, "measure a run's synthetic texts")
    _add_evaluate_options(worth)
    hidden = command(commands, "canaries", canaries, "plant canaries in a corpus")
    _add_canaries_options(hidden)


def evaluate(options: argparse.Namespace) -> int:
    """``smotext evaluate``: measure a run's synthetic texts; writes report.json and report.html."""
    if options.seeds < 1:
        raise UserError(f"--seeds is {options.seeds}; it must be at least 1.")
    from smotext_ray.evaluation.inputs import read_corpus, read_evaluation_data, read_held_out
    from smotext_ray.evaluation.leakage.planting import read_canaries
    from smotext_ray.evaluation.report.directory import check_directory, write
    from smotext_ray.evaluation.report.summary import summary_lines
    from smotext_ray.evaluation.utility.epsilons import check_runs
    from smotext_ray.plan.variants import check_rows
    from smotext_ray.run.directory import Run
    from smotext_ray.run.manifest import Manifest

    # Report all user errors before a model is loaded.
    run, output = Run(options.run), Path(options.output)
    manifest = Manifest.read(run)
    if manifest.is_multilabel:
        from smotext_ray.cli.multilabel import evaluate_labels

        return evaluate_labels(options, run, manifest, _load_encode)
    config = manifest.config
    check_directory(output)
    held_out = read_held_out(run, options.test, options.text_column, options.label_column)
    corpus = read_corpus(run, options.corpus)
    planted = read_canaries(options.canaries, run, corpus) if options.canaries else None
    others = [Run(uri) for uri in options.compare]
    check_runs(run, others)
    for variant in options.variants:
        check_rows(variant, manifest.input.rows)
    teach = _teacher(options.teacher, manifest) if options.teacher else None

    from smotext_ray.evaluation.evaluate import Options
    from smotext_ray.evaluation.evaluate import evaluate as measure
    from smotext_ray.evaluation.reader import Reader
    from smotext_ray.evaluation.utility.distillation import soft_labels
    from smotext_ray.run.log import log_to_run

    log_to_run(run)
    _quiet_transformers()
    encode = Reader(partial(_load_encode, config), config)
    # Before the encoder is loaded, because the engine takes all the memory it is allowed, and the
    # gate loads its own encoder.
    of_llm = {} if options.quick else _from_llm(run, config, encode)
    material = read_evaluation_data(run, held_out, encode, corpus)
    taught = teach(material) if teach else None
    report = measure(
        run,
        config,
        material,
        range(options.seeds),
        encode,
        Options(
            classifiers=options.classifiers,
            variants=options.variants,
            taught=taught,
            canaries=planted,
            compare=others,
            test=options.test,
            encode_controls=not options.quick,
            **of_llm,
        ),
    )
    write(report, output, soft_labels(taught, material) if taught else None)
    say("\n".join(summary_lines(report["summary"])))
    say(f"The report is in {output / 'report.html'}; its numbers are in report.json next to it.")
    return 0


def canaries(options: argparse.Namespace) -> int:
    """``smotext canaries``: plant canaries in a corpus."""
    from smotext_ray.config.schema import InputConfig
    from smotext_ray.evaluation.leakage.planting import LIST, plant

    config = InputConfig(
        path=options.input, text_column=options.text_column, label_column=options.label_column
    )
    output = Path(options.output)
    planted = plant(config, output, options.number, options.seed).planted
    say(
        f"Added {len(planted)} canaries at the end of {output}; after a run on it: "
        f"smotext evaluate ... --canaries {output.with_name(LIST)}"
    )
    return 0


def _teacher(name: str, manifest: Manifest) -> Callable[[Any], Any]:
    from smotext_ray.evaluation.utility.teacher import load_classifier, teach_by_embeddings

    if name == "embedding":
        return teach_by_embeddings
    labels = [str(label) for label in manifest.labels]
    return load_classifier(name, labels).teach


def _from_llm(run: Any, config: Any, encode: Callable[[list[str]], Any]) -> dict[str, Any]:
    """The slow parts: decoding controls with the LLM, and scoring texts for perplexity."""
    from smotext_ray.evaluation.controls.decode import decode_controls
    from smotext_ray.evaluation.controls.gate_share import gate_controls
    from smotext_ray.evaluation.reader import Reader

    token_nll = Reader(partial(_load_token_nll, config), config, whole_gpu=True)
    decoded = decode_controls(run, config, encode)
    return {"decoded": decoded | gate_controls(run, encode), "token_nll": token_nll}


def _load_encode(config: Any) -> Callable[[list[str]], Any]:
    from smotext_ray.models.load import load_encoder

    return partial(load_encoder(config).encode, batch_size=config.encoder.batch_size)


def _load_token_nll(config: Any) -> Callable[[list[str]], Any]:
    from smotext_ray.evaluation.fidelity.perplexity import TokenNLL
    from smotext_ray.models.files import locate_model

    return TokenNLL(locate_model(config.decoder.model).path, config.decoder.max_tokens)


def _quiet_transformers() -> None:
    """Silence the warning about a new last layer, once per fine-tuned classifier."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _add_evaluate_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--run", required=True, metavar="RUN", help="run directory or URI")
    add(
        "--test",
        required=True,
        metavar="FILE",
        help="held-out labeled texts; demo:NAME is the test split of a demo dataset",
    )
    add("--text-column", metavar="NAME", help="column of FILE (default: the run's)")
    add("--label-column", metavar="NAME", help="column of FILE (default: the run's)")
    add(
        "--corpus",
        metavar="FILE",
        help="original corpus; only for runs with privacy.epsilon",
    )
    add(
        "--output",
        required=True,
        metavar="DIR",
        help="report directory; an existing report is replaced",
    )
    add("--seeds", type=int, default=5, metavar="N", help="number of repetitions (default 5)")
    add(
        "--classifiers",
        nargs="+",
        choices=CLASSIFIERS,
        metavar="NAME",
        default=CLASSIFIERS[:2],
        help="embedding, tfidf or bert, which fine-tunes the run's encoder and is slow (default "
        "embedding tfidf)",
    )
    add(
        "--variants",
        nargs="+",
        choices=get_args(OtherVariant),
        metavar="NAME",
        default=[],
        help="SMOTE variants on embeddings, as additional controls: borderline, adasyn, kmeans "
        "or svm",
    )
    add(
        "--teacher",
        metavar="NAME",
        help="write soft labels and train students on them: 'embedding', or a Hugging Face "
        "classifier (directory or hub name) of the run's classes",
    )
    add(
        "--canaries",
        metavar="FILE",
        help="canaries.json that smotext canaries wrote next to the run's corpus",
    )
    add(
        "--compare",
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs on the same corpus with other values of privacy.epsilon, "
        "to plot utility by epsilon",
    )
    add(
        "--quick",
        action="store_true",
        help="skip the controls and perplexity that need the LLM, and do not encode other controls",
    )


def _add_canaries_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--input", required=True, metavar="PATH", help="corpus, as for augment")
    add("--text-column", default="text", metavar="NAME", help="default: text")
    add("--label-column", default="label", metavar="NAME", help="default: label")
    add(
        "--output",
        required=True,
        metavar="FILE",
        help="parquet file; canaries.json is written next to it",
    )
    add("--number", type=int, default=20, metavar="N", help="canaries to plant (default 20)")
    add("--seed", type=int, default=0, metavar="N", help="default 0")
