"""Print a run's outcome, and its texts next to their parents."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from smotext_ray.cli.terminal import literal
from smotext_ray.config.choices import Order
from smotext_ray.gate.reasons import rejected_in_words
from smotext_ray.run.class_outcomes import class_outcomes, imbalance_in_words
from smotext_ray.run.corpus_files import corpus_table
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.renamed import renamed_reason
from smotext_ray.run.tables import samples_table
from smotext_ray.run.verify import Finding
from smotext_ray.safe_text import safe
from smotext_ray.utils.text import text_hash

ORDERS: dict[Order, str] = {
    "random": "drawn at random",
    "best": "closest to their points first",
    "worst": "farthest from their points first",
}

SHORTER = 2.0  # ratio of the medians from which it is reported
LONGER = 0.5  # `decoder.min_length` recommended in that case


def show_outcome(run: Run, manifest: Manifest, console: Console, examples: int = 3) -> None:
    """Print the closing tables: classes, rejections, speed, some texts."""
    console.print(_class_table(manifest))
    for sentence in _in_words(manifest):
        print_line(console, sentence)
    reasons = manifest.rejections()
    if reasons:
        table = Table("reason", "meaning", "texts", title="Rejected (kept in samples/)")
        words = rejected_in_words(manifest.is_multilabel)
        for reason, number in reasons.most_common():
            add_row(table, reason, words.get(reason, ""), number)
        console.print(table)
    console.print(_speed_table(manifest))
    show_samples(run, manifest, console, rows=examples)
    for label, number in (manifest.shortfall or {}).items():
        name, why = manifest.called(label), _why_short(manifest, label)
        unit = "Label" if manifest.is_multilabel else "Class"
        print_line(console, f"{unit} {name!r} is {number} short of its target; {why}.")
    for warning in manifest.warnings or []:
        print_line(console, f"Note: {warning}")
    result = manifest.written_result
    _print_lengths(manifest, console)
    if manifest.adapted is not None:
        print_line(console, manifest.adapted.in_words())
    print_line(console, f"Result: {run.shown.rstrip('/')}/{result.path} ({result.rows} rows).")
    print_promise(manifest, console)
    print_line(console, "Next:")
    print_line(console, f"  smotext show {run.shown} --order worst")
    print_line(console, f"  smotext evaluate --run {run.shown} --test FILE --output report")


def _print_lengths(manifest: Manifest, console: Console) -> None:
    result = manifest.written_result
    lengths, shorter = result.lengths_in_words(), result.times_shorter
    if lengths is not None:
        print_line(console, lengths)
    if shorter is not None and shorter >= SHORTER:
        note = f"Note: the synthetic texts are {shorter:.1f} times shorter than the real ones"
        if manifest.config.decoder.min_length < LONGER:
            note += f"; decoder.min_length={LONGER} makes them longer"
        print_line(console, f"{note}.")


def show_samples(
    run: Run,
    manifest: Manifest,
    console: Console,
    rows: int = 10,
    label: str | None = None,
    status: str = "accepted",
    order: Order = "random",
) -> int:
    """Print samples with their parents, alternating between classes. Returns the count.

    The order "best" is by the cosine to the point; "random" is the same at every call. A run with
    epsilon has not kept the parents.
    """
    chosen = _choose(run, manifest, rows, label, status, order)
    if not chosen:
        return 0
    print_line(console, f"{status.capitalize()} texts, {ORDERS[order]}:")
    parents = {}
    if not manifest.is_private:
        parents = _texts(run, manifest, {id_ for row in chosen for _, id_ in _parents(row)})
    for row in chosen:
        facts = f"cosine to point {row['cosine_to_point']:.2f}, lam {row['lam']:.2f}"
        if row["status"] == "rejected":
            facts += f", rejected: {renamed_reason(row['reason'])}"
        table = Table(
            title=literal(f"{labels_in_words(row, manifest)} (sample {row['sample_id']}; {facts})"),
            title_justify="left",
            show_header=False,
            width=min(console.width, 110),
            expand=False,
        )
        table.add_column("which", width=9)
        table.add_column("text", overflow="fold")
        for name, id_ in _parents(row):
            if id_ in parents:
                add_row(table, name, _short(parents[id_]))
        table.add_row("synthetic", literal(_short(row["text"]), style="bold"))
        console.print(table)
    return len(chosen)


def show_findings(findings: list[Finding], console: Console) -> None:
    """Print the findings of ``verify``."""
    table = Table("check", "status", "details")
    for finding in findings:
        add_row(table, finding.check, "ok" if finding.ok else "FAILED", finding.seen)
    console.print(table)


def add_row(table: Table, *cells: Any) -> None:
    """Add a row of literal text."""
    table.add_row(*map(literal, cells))


def print_line(console: Console, sentence: str) -> None:
    """Print without wrapping, so that paths can be copied."""
    console.print(literal(safe(sentence)), soft_wrap=True)


def print_promise(manifest: Manifest, console: Console) -> None:
    """Print the privacy guarantee of a run with epsilon; nothing for other runs."""
    if manifest.privacy is not None:
        print_line(console, manifest.privacy.in_words())


def _class_table(manifest: Manifest) -> Table:
    unit, title = ("label", "Labels") if manifest.is_multilabel else ("class", "Classes")
    table = Table(unit, "before", "requested", "accepted", "after", title=title)
    for found in class_outcomes(manifest):
        add_row(table, *astuple(found))
    return table


def _in_words(manifest: Manifest) -> Iterator[str]:
    """How the numbers in the table of classes add up, and what the gate decided."""
    grown = [found for found in class_outcomes(manifest) if found.asked]
    if grown:
        first = max(grown, key=lambda found: found.asked)
        kept = 0 if manifest.is_private else first.before
        spare = first.accepted - (first.after - kept)
        left_out = f"; {spare} more were accepted than requested, and left out" if spare else ""
        unit = "Label" if manifest.is_multilabel else "Class"
        yield (
            f"{unit} {first.label!r}: {kept} + {first.after - kept} = {first.after} rows{left_out}."
        )
    if imbalance := imbalance_in_words(manifest):
        yield imbalance
    decoded = sum(entry.points for entry in manifest.rounds if entry.decode is not None)
    if decoded:
        got = manifest.usable_texts
        yield (
            f"The gate accepted {got} of {decoded} decoded texts ({100 * got // decoded}%): these "
            "match their points and classes, and copy no text of the corpus."
        )


def _speed_table(manifest: Manifest) -> Table:
    table = Table("stage", "seconds", "rows per second", "tokens per second", title="Time")
    embed = manifest.stages["embed"]
    if embed.seconds:  # with epsilon, the time is not recorded
        rate = (embed.rows or 0) / embed.seconds
        table.add_row("embed", f"{embed.seconds:.1f}", f"{rate:.0f}", "")
    if manifest.weights is not None:
        table.add_row("weigh", f"{manifest.weights.seconds:.1f}", "", "")
    for entry in manifest.rounds:
        table.add_row(
            f"plan round {entry.round}",
            f"{entry.plan_seconds:.1f}",
            _rate(entry.points, entry.plan_seconds, 0),
            "",
        )
        decode = entry.decode
        if decode is not None:
            table.add_row(
                f"decode round {entry.round}",
                f"{decode.seconds:.1f}",
                _rate(entry.points, decode.seconds, 1),
                _rate(decode.tokens, decode.seconds, 0),
            )
    return table


def _rate(number: int, seconds: float, digits: int) -> str:
    """A rate; empty for a job whose rows a killed process had already written."""
    return f"{number / seconds:.{digits}f}" if seconds else ""


def _why_short(manifest: Manifest, label: Any) -> str:
    reasons: Counter[str] = Counter()
    for entry in manifest.rounds:
        for owner, reason, number in entry.decode.reasons_by_class if entry.decode else ():
            if owner == label:
                reasons[reason] += number
    listed = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
    return f"rejected in {len(manifest.rounds)} rounds: {listed or 'none'}"


def _choose(
    run: Run, manifest: Manifest, rows: int, label: str | None, status: str, order: Order
) -> list[dict[str, Any]]:
    """The first samples in this order, alternating classes; keeps ``rows`` per class in memory."""
    by_class: dict[str, list[dict[str, Any]]] = {}
    for entry in manifest.rounds:
        if not run.has("samples", entry.name):
            continue
        samples = samples_table(run, "samples", entry.name)
        for batch in samples.to_batches(filter=pc.field("status") == status):
            for row in batch.to_pylist():
                owners = row.get("labels") or [row["label"]]
                names = {str(name) for k in owners for name in (k, manifest.called(k))}
                if label is None or label in names:
                    by_class.setdefault(str(row["label"]), []).append(row)
            for key, found in by_class.items():
                by_class[key] = heapq.nsmallest(rows, found, key=partial(_rank, order))
    return list(_by_turns([by_class[key] for key in sorted(by_class)], rows))


def _rank(order: Order, row: dict[str, Any]) -> float:
    if order == "random":
        return text_hash(str(row["sample_id"]))
    cosine = float(row["cosine_to_point"])
    return -cosine if order == "best" else cosine


def _by_turns(lists: list[list[dict[str, Any]]], most: int) -> Iterator[dict[str, Any]]:
    given = 0
    for rank in range(max(map(len, lists), default=0)):
        for samples in lists:
            if rank < len(samples) and given < most:
                given += 1
                yield samples[rank]


def _texts(run: Run, manifest: Manifest, ids: set[Any]) -> dict[Any, str]:
    corpus = corpus_table(run, manifest)
    wanted = pa.array(sorted(ids), corpus.schema.field("id").type)
    found = corpus.to_table(columns=["id", "text"], filter=pc.field("id").isin(wanted))
    return dict(zip(found["id"].to_pylist(), found["text"].to_pylist(), strict=True))


def labels_in_words(row: dict[str, Any], manifest: Manifest) -> str:
    """The sample's class, or the labels that it has kept."""
    if row.get("labels") is None:
        return str(manifest.called(row["label"]))
    return ", ".join(str(manifest.called(label)) for label in row["labels"])


def _parents(row: dict[str, Any]) -> list[tuple[str, Any]]:
    """Name and id of each parent of a sample."""
    others = row.get("other_neighbor_ids") or []
    neighbors = [("neighbor", id_) for id_ in (row["neighbor_id"], *others)]
    return [("source", row["source_id"]), *neighbors]


def _short(text: str, most: int = 400) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 3] + "..."
