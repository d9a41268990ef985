"""What points drawn from a private release are worth, and what they give away.

    python benchmarks/private_points.py utility --dataset demo:reuters-r8
    python benchmarks/private_points.py utility --train train.parquet --test test.parquet
    python benchmarks/private_points.py attack --dataset demo:reuters-r8

Everything but the decoding, as a run does it: embeddings are clipped, summed and noised, and points
drawn. `utility` trains a logistic regression on the points and tests it on real embeddings, for
several values of epsilon; next to it stands the mechanism that noises every record, which this
project had before. `attack` is LiRA's test of membership [1]_ for each record: how likely the
points are with the record and without it, by many reference releases of random halves of the
corpus. Its attacker has the points, not the release.

Noise is numpy's here, and fast: a simulation of utility, and no release.

References
----------
.. [1] Carlini et al.: Membership inference attacks from first principles. IEEE S&P 2022,
   arXiv:2112.03570.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from threadpoolctl import threadpool_limits

from smotext_ray.config.schema import PrivacyConfig
from smotext_ray.privacy.directions import Directions, read_directions
from smotext_ray.privacy.points import draw_points
from smotext_ray.privacy.release import Release, noise_scale
from smotext_ray.privacy.sums import UNITS, ClassSums, record_vector

POINTS = 60  # per class, that a classifier is trained on
WITHOUT_NOISE = 1e9  # an epsilon

Split = tuple[np.ndarray, np.ndarray]  # embeddings and labels


def main() -> None:
    options = _options()
    train, test = encoded(options)
    with threadpool_limits(1):
        {"utility": show_utility, "attack": show_attack}[options.what](options, train, test)


def settings(options: argparse.Namespace, epsilon: float | None) -> PrivacyConfig:
    """Of a release; with next to no noise for None."""
    return PrivacyConfig(
        epsilon=epsilon or WITHOUT_NOISE,
        delta=options.delta,
        spread=options.spread,
        dimensions=options.dimensions,
    )


# Utility


def show_utility(options: argparse.Namespace, train: Split, test: Split) -> None:
    """Print a row per epsilon: accuracy and macro-F1, mean and deviation over the draws."""
    print(f"{len(np.unique(train[1]))} classes, at most {options.rows} rows each, "
          f"{options.draws} draws; accuracy (sd), macro-F1")  # fmt: skip
    print("| epsilon | class sums | noise per record |\n|---|---|---|")
    for epsilon in [*options.epsilons, None]:
        privacy = settings(options, epsilon)
        found: dict[str, list[np.ndarray]] = {"sums": [], "records": []}
        for draw in range(options.draws):
            random = np.random.default_rng([options.seed, draw])
            x, y = cut(random, *train, options.rows)
            points = from_release(random, x, y, privacy)
            found["sums"].append(score(*points, *test))
            if epsilon and options.old:
                found["records"].append(score(*from_records(random, x, y, privacy), *test))
        cells = [_mean(scores) for scores in found.values()]
        print(f"| {epsilon or 'none'} | " + " | ".join(cells) + " |", flush=True)


def from_release(
    random: np.random.Generator, x: np.ndarray, y: np.ndarray, privacy: PrivacyConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Points of each class that is released, and their labels."""
    directions = read_directions(privacy)
    names, codes = np.unique(y, return_inverse=True)
    vectors = clipped(x, directions, privacy.clip_norm)
    sums = ClassSums.of(vectors, codes, len(names)).as_matrix() / UNITS
    return points_of(random, noised(random, sums, names, privacy), directions, privacy)


def clipped(x: np.ndarray, directions: Directions, clip_norm: float) -> np.ndarray:
    """The record vectors of embeddings."""
    return np.stack([record_vector(row, clip_norm) for row in directions.coordinates(x)])


def noised(
    random: np.random.Generator, sums: np.ndarray, names: np.ndarray, privacy: PrivacyConfig
) -> Release:
    """A release of all classes, with numpy's noise."""
    scale = noise_scale(privacy)
    told = sums + random.normal(0, scale, sums.shape)
    return Release(list(names), told[:, 0], told[:, 1:], scale)


def points_of(
    random: np.random.Generator, release: Release, directions: Directions, privacy: PrivacyConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Equally many points of each class, as SMOTE places them between those that are drawn."""
    equal = Release(release.labels, np.maximum(release.counts, 1.0), release.sums, release.noise)
    drawn: dict[int, list[np.ndarray]] = {}
    seed = int(random.integers(2**31))
    for code, block in draw_points(equal, directions, privacy, seed, normalize=True):
        drawn.setdefault(code, []).append(block)
    xs, ys = [], []
    for code, blocks in drawn.items():
        own = np.concatenate(blocks)
        a, b = (own[random.integers(len(own), size=POINTS)] for _ in range(2))
        xs.append(a + random.random((POINTS, 1)) * (b - a))
        ys += [release.labels[code]] * POINTS
    return np.concatenate(xs), np.array(ys)


def from_records(
    random: np.random.Generator, x: np.ndarray, y: np.ndarray, privacy: PrivacyConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Each record with noise for itself, drawn to the mean of its class: the mechanism before.

    Its relation was another text with the same label, of sensitivity 2, and it had 64 directions.
    """
    one = privacy.model_copy(
        update={"dimensions": 64, "neighbors": "replace", "classes": ("public", "names")}
    )
    directions = read_directions(one)
    rows = clipped(x, directions, one.clip_norm) / UNITS
    scale = noise_scale(one)
    rows = rows + random.normal(0, scale, rows.shape)
    names, codes = np.unique(y, return_inverse=True)
    counts = np.bincount(codes)[:, None]
    means = np.stack([rows[codes == code].mean(0) for code in range(len(names))])
    variances = directions.variances.astype(float)
    prior = variances / variances.sum()
    around = np.square(rows - means[codes]).sum() / (len(rows) - len(names))
    within = np.clip((around - len(prior) * scale**2) / prior.sum(), 0, 1) * prior
    share = within / (within + scale**2)
    weight = prior / (prior + (within + scale**2) / counts)
    denoised = (weight * means)[codes] + share * (rows - means[codes])
    return directions.lift(denoised * variances.sum() ** 0.5), y


def score(x: np.ndarray, y: np.ndarray, test: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Accuracy and macro-F1 of a classifier that is trained on points alone."""
    model = LogisticRegression(C=10, max_iter=300, class_weight="balanced").fit(x, y)
    predicted = model.predict(test)
    return np.array(
        [accuracy_score(labels, predicted), f1_score(labels, predicted, average="macro")]
    )


# Membership


def show_attack(options: argparse.Namespace, train: Split, test: Split) -> None:
    """Print a row per epsilon: AUC and members found at 1% false alarms."""
    x, y = cut(np.random.default_rng(options.seed), *train, options.rows)
    print("| epsilon | AUC | members found at 1% false alarms | theory: AUC, found |")
    print("|---|---|---|---|")
    for epsilon in [*options.epsilons, None]:
        privacy = settings(options, epsilon)
        auc, found = attack(options, x, y, privacy)
        told = "| "
        if epsilon:
            mu = 2**0.5 / noise_scale(privacy)
            told = f"| at most {norm.cdf(mu / 2**0.5):.3f}, {norm.sf(norm.isf(0.01) - mu):.3f} "
        low, high = interval(auc, len(x) * options.targets)
        print(f"| {epsilon or 'none'} | {auc:.3f} ({low:.3f} to {high:.3f}) | {found:.3f} {told}|",
              flush=True)  # fmt: skip


def attack(
    options: argparse.Namespace, x: np.ndarray, y: np.ndarray, privacy: PrivacyConfig
) -> tuple[float, float]:
    """LiRA: per record, a normal distribution of its score with and without it.

    The score of a record in a run is the mean similarity of the class's points to it; the
    reference runs and the attacked ones are releases of random halves of the records.
    """
    directions = read_directions(privacy)
    vectors = clipped(x, directions, privacy.clip_norm)
    names, codes = np.unique(y, return_inverse=True)
    random = np.random.default_rng([options.seed, 1])
    runs = options.references + options.targets
    inside = random.random((runs, len(x))) < 0.5
    scores = np.empty((runs, len(x)))
    for run, members in enumerate(inside):
        sums = ClassSums.of(vectors[members], codes[members], len(names)).as_matrix() / UNITS
        release = noised(random, sums, names, privacy)
        points, labels = points_of(random, release, directions, privacy)
        means = np.stack([points[labels == name].mean(0) for name in names])
        scores[run] = (x * means[codes]).sum(1)
    known, attacked = slice(options.references), slice(options.references, None)
    ratios = np.zeros_like(scores[attacked])
    for sign, there in ((1, True), (-1, False)):
        kept = np.where(inside[known] == there, scores[known], np.nan)
        mean, deviation = np.nanmean(kept, 0), np.nanstd(kept, 0, ddof=1)
        ratios += sign * norm.logpdf(scores[attacked], mean, deviation + 1e-9)
    members, others = ratios[inside[attacked]], ratios[~inside[attacked]]
    auc = roc_auc_score(inside[attacked].ravel(), ratios.ravel())
    return float(auc), float((members > np.quantile(others, 0.99)).mean())


def interval(auc: float, pairs: int) -> tuple[float, float]:
    """A 95% interval by Hanley and McNeil, of as many members as others."""
    n = pairs / 2
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (n - 1) * (q1 - auc**2 + q2 - auc**2)) / n**2
    return auc - 1.96 * variance**0.5, auc + 1.96 * variance**0.5


# Data


def encoded(options: argparse.Namespace) -> tuple[Split, Split]:
    """Embeddings and labels of the training and the test texts, kept from call to call."""
    from smotext_ray.config.load import load_config
    from smotext_ray.corpus.texts import read_labeled_texts
    from smotext_ray.models.load import load_encoder

    found: list[tuple] = []
    for split in ("train", "test"):
        file = options.cache / f"{options.name or options.dataset.partition(':')[2]}-{split}.npz"
        if not file.exists():
            source = getattr(options, split) or f"{options.dataset}:{split}"
            texts, labels = read_labeled_texts(source, "text", "label", sys.maxsize)
            names = np.array(list(map(str, labels or [])))
            random = np.random.default_rng(options.seed)
            kept = np.sort(np.concatenate([
                random.permutation(np.flatnonzero(names == name))[: options.most]
                for name in np.unique(names)]))  # fmt: skip
            config = load_config("offline")
            encoder = load_encoder(config)
            x = encoder.encode([texts[row] for row in kept], config.encoder.batch_size)
            options.cache.mkdir(parents=True, exist_ok=True)
            np.savez(file, x=x, y=names[kept])
        content = np.load(file)
        found.append((content["x"].astype(float), content["y"]))
    return found[0], found[1]


def cut(
    random: np.random.Generator, x: np.ndarray, y: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` random rows of each class."""
    kept = np.concatenate(
        [random.permutation(np.flatnonzero(y == name))[:most] for name in np.unique(y)]
    )
    return x[kept], y[kept]


def _mean(scores: list[np.ndarray]) -> str:
    if not scores:
        return ""
    found = np.array(scores)
    deviation = found[:, 0].std(ddof=1) if len(found) > 1 else 0.0
    return f"{found[:, 0].mean():.3f} ({deviation:.3f}), {found[:, 1].mean():.3f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["utility", "attack"])
    parser.add_argument("--dataset", default="demo:reuters-r8")
    parser.add_argument("--train", help="table of labeled texts, instead of --dataset")
    parser.add_argument("--test")
    parser.add_argument("--name", help="of the dataset in --cache")
    parser.add_argument("--cache", type=Path, default=Path("runs/private-points"))
    parser.add_argument("--most", type=int, default=500, help="texts of a class to embed")
    parser.add_argument("--rows", type=int, default=100, help="most of a class (default 100)")
    parser.add_argument("--epsilons", nargs="+", type=float, default=[1.0, 2.0, 4.0, 8.0])
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--spread", type=float, default=PrivacyConfig().spread)
    parser.add_argument("--dimensions", type=int)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--old", action="store_true", help="the mechanism before, too")
    parser.add_argument("--references", type=int, default=64)
    parser.add_argument("--targets", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
