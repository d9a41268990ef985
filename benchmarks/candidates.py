"""How many candidates are worth their tokens? What 1, 2, 4 and 8 give, and more only where needed.

    python benchmarks/candidates.py RUN --dataset trec6 --data DIR --output /tmp/candidates

Decodes points of a run's plan with eight candidates each, and has the gate judge every candidate.
So each policy's choice is known: of the first n candidates the accepted one that is nearest to its
point; `2, then 2` looks at two more only where neither of the first two was accepted, and `2, then
2 if far` also where the nearest of them is farther than the middle of all. Prints accepted points,
tokens per accepted text, the accepted texts' mean cosine to their points, and macro-F1 of the real
rows and equally many texts of each policy, whose classifiers have their settings chosen on their
own training rows. A point that is given up is replaced by another one, at the price of a point: so
the policy of the fewest tokens per accepted text is the cheapest, rounds included.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from diversity import drawn_points, run_options
from figures import save, show
from utility import read_split

from smotext_ray.errors import UserError
from smotext_ray.models.load import load_encoder
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.samples import accepted_unique

MOST = 8
LISTS = ("texts", "finish_reasons", "num_tokens")
CLASSIFIERS = ("embedding", "tfidf")


def main() -> int:
    options = _options()
    try:
        run = Run(options.run)
        encoder = load_encoder(Manifest.read(run).config)
        samples = judged(run, encoder, options.points)
        chosen = {name: policy(samples) for name, policy in POLICIES.items()}
        scores = utility(chosen, run, encoder.encode, read_split(options, "test"))
    except UserError as error:
        print(f"candidates.py: error: {error}", file=sys.stderr)
        return 2
    rows = [figures(name, *of, scores[name], len(samples[0])) for name, of in chosen.items()]
    show(list(rows[0]), [list(row.values()) for row in rows])
    save(options.output / f"{options.dataset}.json", rows=rows)
    return 0


def judged(run: Run, encoder: Any, points: int) -> list[pa.Table]:
    """The gate's samples of the first candidates of some points, of the second ones, and so on."""
    from smotext_ray.gate.gate import Gate
    from smotext_ray.models.load import load_decoder
    from smotext_ray.pipeline.actors import decode_points, with_candidates
    from smotext_ray.run.reference import load_reference

    manifest, plan = Manifest.read(run), drawn_points(run, points)
    config = manifest.config
    decoder = load_decoder(config, expected_texts=MOST * len(plan))
    decoder.set_sampling(MOST, config.decoder.temperature)
    decoded = decode_points(plan, decoder)
    kind = plan.schema.field("label").type
    gate = Gate(encoder, config, load_reference(run), manifest.labels, kind)
    return [gate(with_candidates(plan, [_only(each, n) for each in decoded])) for n in range(MOST)]


def _only(candidates: Any, n: int) -> Any:
    lists = {name: getattr(candidates, name)[n : n + 1] for name in LISTS}
    return replace(candidates, **lists)


Choice = tuple[pa.Table, int]  # the accepted samples of a policy, and the tokens it decoded


def first(number: int) -> Callable[[list[pa.Table]], Choice]:
    """The nearest accepted one of the first candidates."""
    return lambda samples: _nearest(samples, np.full(len(samples[0]), number))


def then_two(if_far: bool) -> Callable[[list[pa.Table]], Choice]:
    """Two candidates, and two more where neither was accepted or, perhaps, both are far."""

    def choose(samples: list[pa.Table]) -> Choice:
        best = _cosines(samples)[:, :2].max(axis=1)
        limit = np.median(best[best > -1]) if if_far else -1
        return _nearest(samples, np.where(best <= limit, 4, 2))

    return choose


POLICIES = {
    "1": first(1),
    "2": first(2),
    "4": first(4),
    "8": first(8),
    "2, then 2": then_two(if_far=False),
    "2, then 2 if far": then_two(if_far=True),
}


def _cosines(samples: list[pa.Table]) -> np.ndarray:
    """Cosine of every candidate to its point, -1 if rejected; shape (points, candidates)."""
    near = [np.asarray(table["cosine_to_point"]) for table in samples]
    accepted = [np.asarray(table["status"]) == "accepted" for table in samples]
    return np.where(np.stack(accepted, axis=1), np.stack(near, axis=1), -1.0)


def _nearest(samples: list[pa.Table], decoded: np.ndarray) -> Choice:
    """The accepted texts, each the nearest of as many as are decoded of its point, and tokens."""
    tokens = np.stack([np.asarray(table["num_tokens"]) for table in samples], axis=1)
    seen = np.arange(len(samples)) < decoded[:, None]
    near = np.where(seen, _cosines(samples), -1.0)
    best = near.argmax(axis=1)
    kept = np.flatnonzero(near.max(axis=1) > -1)
    texts = pa.concat_tables(samples).take(best[kept] * len(near) + kept)
    (distinct,) = accepted_unique([ds.dataset(texts)])
    return distinct, int(tokens[seen].sum())


def utility(
    chosen: dict[str, Choice], run: Run, encode: Any, split: pa.Table
) -> dict[str, dict[str, float]]:
    """Macro-F1 of each policy and classifier, on equally many texts of each class."""
    from smotext_ray.evaluation.controls.decode import first_of_classes, parents_of
    from smotext_ray.evaluation.inputs import read_evaluation_data
    from smotext_ray.evaluation.rows import LabeledTexts, Rows
    from smotext_ray.evaluation.utility.classifiers import CLASSIFIERS as KNOWN
    from smotext_ray.evaluation.utility.training_sets import of_real
    from smotext_ray.evaluation.utility.trials import score_arms

    held_out = LabeledTexts(*(split[name].to_pylist() for name in ("text", "label")))
    material = read_evaluation_data(run, held_out, encode)
    real = of_real(material.real)
    counts = [Counter(map(str, table["label"].to_pylist())) for table, _ in chosen.values()]
    fewest = {label: min(count[label] for count in counts) for label in counts[0]}
    arms = {"real rows": real}
    for name, (table, _) in chosen.items():
        own = [str(label) for label in table["label"].to_pylist()]
        part = table.take(first_of_classes(own, fewest))
        made = part["text"].to_pylist()
        rows = Rows(made, encode(made), [str(label) for label in part["label"].to_pylist()])
        arms[name] = real.joined(rows, parents_of(run, part))
    found: dict[str, dict[str, float]] = {name: {} for name in arms}
    scores = score_arms(arms, material.test, 0, {name: KNOWN[name] for name in CLASSIFIERS}, encode)
    for (classifier, arm), score in scores.items():
        if arm in found:
            found[arm][classifier] = score.macro_f1
    print("real rows alone:", found["real rows"], "added of each class:", fewest)
    return found


def figures(
    name: str, texts: pa.Table, tokens: int, scores: dict[str, float], points: int
) -> dict[str, Any]:
    """A row of the table."""
    return {
        "candidates": name,
        "accepted": f"{len(texts) / points:.1%}",
        "tokens per accepted text": f"{tokens / len(texts):.1f}",
        "mean cosine": f"{np.mean(texts['cosine_to_point'].to_numpy()):.3f}",
        **{f"macro-F1, {key}": f"{scores[key]:.3f}" for key in CLASSIFIERS},
    }


def _options() -> argparse.Namespace:
    parser = run_options(__doc__, points=400)
    parser.add_argument("--output", required=True, type=Path, help="directory for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
