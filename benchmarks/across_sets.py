"""Arms over several datasets: mean ranks, Nemenyi's critical difference, Wilcoxon's test.

    python benchmarks/across_sets.py runs/utility/*-imbalanced --classifier tfidf

Reads the `results.json` that `utility.py` has written to each directory. Every dataset counts once,
with the mean macro-F1 of its seeds [1]_. Only arms that all of them have are compared. The p values
are of Wilcoxon's signed-rank test of real and synthetic rows against each arm, adjusted by Holm,
except for class weights, the baseline named beforehand. With n datasets none can be below 2 / 2**n,
so fewer than six cannot show anything at 5%.

.. [1] Demsar: Statistical comparisons of classifiers over multiple datasets. Journal of Machine
   Learning Research 7, 2006.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from figures import show
from utility_tables import CLASSIFIERS

from smotext_ray.errors import UserError
from smotext_ray.evaluation.statistics import critical_difference, holm
from smotext_ray.evaluation.utility.trials import OWN
from smotext_ray.evaluation.utility.verdicts import BASELINE

FEWEST = 2


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directories", nargs="+", type=Path, help="of utility.py, one per dataset")
    parser.add_argument("--classifier", default="tfidf", choices=CLASSIFIERS)
    options = parser.parse_args()
    try:
        arms, scores = read(options.directories, options.classifier)
    except UserError as error:
        print(f"across_sets.py: error: {error}", file=sys.stderr)
        return 2
    compare(arms, scores)
    return 0


def read(directories: list[Path], classifier: str) -> tuple[list[str], np.ndarray]:
    """The arms that all datasets have, and their macro-F1; shape (datasets, arms)."""
    found = []
    for directory in directories:
        file = directory / "results.json"
        results = json.loads(file.read_text()) if file.exists() else {}
        if classifier not in results:
            raise UserError(f"{file} has no results of {classifier}; run utility.py first.")
        found.append(
            {
                arm: facts["macro_f1"]["mean"]
                for arm, facts in results[classifier].items()
                if isinstance(facts, dict) and "rows" in facts
            }
        )
    arms = [arm for arm in found[0] if all(arm in scores for scores in found)]
    if len(found) < FEWEST or OWN not in arms:
        raise UserError(f"Give at least {FEWEST} datasets, each with the arm {OWN}.")
    return arms, np.array([[scores[arm] for arm in arms] for scores in found])


def compare(arms: list[str], scores: np.ndarray) -> None:
    """Print the arms from best to worst mean rank."""
    from scipy.stats import rankdata

    ranks = rankdata(-scores, axis=1).mean(axis=0)
    p_values = wilcoxon_p_values(arms, scores)
    order = np.argsort(ranks, kind="stable")
    rows = [
        [arms[i], f"{ranks[i]:.2f}", f"{scores[:, i].mean():.3f}", _in_words(p_values.get(arms[i]))]
        for i in order
    ]
    show(["trained on", "mean rank", "macro-F1", "p against real + synthetic"], rows)
    difference = critical_difference(len(arms), len(scores))
    print(f"Two arms differ from a difference of {difference:.2f} in mean rank on (Nemenyi, 5%).")


def wilcoxon_p_values(arms: list[str], scores: np.ndarray) -> dict[str, float]:
    """Of each arm but `OWN`; all but the baseline's are adjusted by Holm."""
    from scipy.stats import wilcoxon

    own = scores[:, arms.index(OWN)]
    found = {}
    for arm, column in zip(arms, scores.T, strict=True):
        if arm != OWN:
            found[arm] = float(wilcoxon(own, column).pvalue) if (own != column).any() else 1.0
    others = [arm for arm in found if arm != BASELINE]
    return found | dict(zip(others, holm([found[arm] for arm in others]), strict=True))


def _in_words(p: float | None) -> str:
    return "" if p is None else f"{p:.3f}"


if __name__ == "__main__":
    sys.exit(main())
