"""How many new points each class gets, and which classes can have any."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from smotext_ray.errors import UserError

STRATEGIES = ("auto", "minority", "not minority", "not majority", "all")
LISTED = 10
LEAST_ACCEPTANCE = 0.1  # a class does not get more than ten points for each text it lacks


def targets(
    class_counts: Mapping[Any, int],
    sampling_strategy: str | float | Mapping[Any, int],
    allow_reached: bool = False,
) -> dict[Any, int]:
    """New points per class, by imbalanced-learn's rules.

    Parameters
    ----------
    class_counts : mapping of label to int
        Rows per class.
    sampling_strategy : str, float or mapping
        Every form of imbalanced-learn's over-samplers: "auto", "minority", "not minority",
        "not majority", "all"; for two classes the wanted minority/majority ratio in (0, 1];
        or final counts per label, where labels may be given as text (``"1"`` for 1). A
        string that is the JSON of a number or of an object is read as such.
    allow_reached : bool, default=False
        Take a target below the present count for one that is reached, instead of a mistake:
        a corpus that grows passes its targets.

    Returns
    -------
    dict of label to int
        Only classes that get points; empty when all are at their target already.

    Raises
    ------
    UserError
        For fewer than two classes, an unknown word, a label that is not there, a target
        below the present count (unless allowed), or a ratio that does not fit.

    Examples
    --------
    >>> targets({"grain": 41, "ship": 108, "earn": 300}, '{"grain": 160, "ship": 160}')
    {'grain': 119, 'ship': 52}
    """
    # imblearn settles ties by the order of the labels, as np.unique sorts them.
    labels = _ordered(label for label, count in class_counts.items() if count > 0)
    counts = [class_counts[label] for label in labels]
    if len(labels) < 2:
        raise UserError(f"Balancing needs at least two classes; there are: {_listed(labels)}.")
    strategy = _read_strategy(sampling_strategy)
    if isinstance(strategy, dict):
        final = _final_counts(strategy, labels, counts, allow_reached)
        new = {code: number - counts[code] for code, number in sorted(final.items())}
        return {labels[code]: number for code, number in new.items() if number}
    if isinstance(strategy, float) and _is_reached(strategy, labels, counts, allow_reached):
        return {}
    from imblearn.utils import check_sampling_strategy  # seconds, which final counts do without

    codes = np.repeat(np.arange(len(labels), dtype=np.min_scalar_type(len(labels))), counts)
    try:
        new_points = check_sampling_strategy(strategy, codes, "over-sampling")
    except ValueError as error:
        raise UserError(f"The sampling strategy does not fit: {error}") from error
    return {labels[code]: int(count) for code, count in new_points.items() if count > 0}


def check_class_sizes(
    distinct: Mapping[Any, int],
    new_points: Mapping[Any, int],
    k_neighbors: int,
    on_singleton_class: Literal["error", "skip"],
) -> tuple[dict[Any, int], list[str]]:
    """Leave out, or refuse, classes without neighbours; warn of those with few.

    Parameters
    ----------
    distinct : mapping of label to int
        Distinct stripped texts per class.
    new_points : mapping of label to int
        As `targets` gives it.
    k_neighbors : int
    on_singleton_class : {"error", "skip"}
        What becomes of a class of one distinct text.

    Returns
    -------
    kept : dict of label to int
        ``new_points`` without the classes that were skipped.
    warnings : list of str
        One sentence a class, in the order of ``new_points``.

    Raises
    ------
    UserError
        For classes of one distinct text, unless they are to be skipped.
    """
    lonely = [label for label in new_points if distinct.get(label, 0) < 2]
    if lonely and on_singleton_class == "error":
        raise UserError(singleton_sentence(lonely))
    kept: dict[Any, int] = {}
    warnings: list[str] = []
    for label, count in new_points.items():
        neighbors = distinct.get(label, 0) - 1
        if neighbors < 1:
            warnings.append(f"Class {label!r} is skipped: it has only one distinct text.")
            continue
        kept[label] = count
        if neighbors < k_neighbors:
            warnings.append(
                f"Class {label!r} has {neighbors + 1} distinct texts: "
                f"k_neighbors is {neighbors} there instead of {k_neighbors}."
            )
    return kept, warnings


def lacking(
    wanted: Mapping[Any, int],
    accepted: Mapping[Any, int],
    planned: Mapping[Any, int],
    expected_acceptance: float = 1.0,
) -> dict[Any, int]:
    """Points to plan in the next round: the texts that are missing, over the acceptance so far.

    Parameters
    ----------
    wanted, accepted, planned : mapping of label to int
        New texts asked for, texts that passed the gate, and points of all rounds before.
    expected_acceptance : float, default=1.0
        In (0, 1]: that of a class of which nothing was planned yet.

    Examples
    --------
    >>> lacking({"grain": 30, "ship": 5}, {"grain": 20, "ship": 5}, {"grain": 40, "ship": 5})
    {'grain': 20}
    """
    points = {}
    for label, number in wanted.items():
        missing = number - accepted.get(label, 0)
        if missing > 0:
            rate = expected_acceptance
            if planned.get(label):
                rate = accepted.get(label, 0) / planned[label]
            points[label] = math.ceil(missing / max(rate, LEAST_ACCEPTANCE))
    return points


def singleton_sentence(labels: list[Any]) -> str:
    """What the user is told of classes that have no neighbours."""
    one = len(labels) == 1
    return (
        f"{'Class' if one else 'Classes'} {_listed(labels)} {'has' if one else 'have'} only "
        "one distinct text, so there is nothing to interpolate with: add texts, leave the "
        "class out of the sampling strategy, or use --on-singleton-class skip."
    )


def _ordered(labels: Iterable[Any]) -> list[Any]:
    found = list(labels)
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=str)


def _listed(labels: Iterable[Any]) -> str:
    names = [str(label) for label in labels]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return (", ".join(names[:LISTED]) + more) or "none"


def _read_strategy(given: Any) -> str | float | dict[Any, Any]:
    strategy = given
    if isinstance(given, str) and given not in STRATEGIES:
        with contextlib.suppress(ValueError):  # the sentence below names it
            strategy = json.loads(given)
    if isinstance(strategy, Mapping):
        return dict(strategy)
    if isinstance(strategy, (int, float, np.number)) and not isinstance(strategy, bool):
        return float(strategy)
    if isinstance(strategy, str) and strategy in STRATEGIES:
        return strategy
    raise UserError(
        f"The sampling strategy {given!r} is not known: use one of {', '.join(STRATEGIES)}, "
        "a ratio for two classes, or a JSON object of label to final count."
    )


def _final_counts(
    strategy: Mapping[Any, Any], labels: list[Any], counts: list[int], allow_reached: bool
) -> dict[int, int]:
    """The strategy with labels turned into their codes."""
    codes = {str(label): code for code, label in enumerate(labels)}
    final: dict[int, int] = {}
    for name, count in strategy.items():
        code = codes.get(str(name))
        if code is None:
            raise UserError(
                f"The sampling strategy names class {str(name)!r}, which is not there; "
                f"there are: {_listed(labels)}."
            )
        number = isinstance(count, (int, float, np.number)) and not isinstance(count, bool)
        if not number or not math.isfinite(count) or count != int(count):
            raise UserError(
                f"The sampling strategy asks for {count!r} rows of class {name}: "
                "a whole number is needed."
            )
        if count < counts[code] and not allow_reached:
            raise UserError(
                f"The sampling strategy asks for {int(count)} rows of class {name}, which "
                f"already has {counts[code]}: rows are only ever added."
            )
        final[code] = max(int(count), counts[code])
    return final


def _is_reached(ratio: float, labels: list[Any], counts: list[int], allow_reached: bool) -> bool:
    """Check a ratio; True where imblearn, which takes it for an error, has nothing to add."""
    if not 0 < ratio <= 1:
        raise UserError(f"A sampling strategy that is a ratio lies in (0, 1]; {ratio:g} does not.")
    if len(labels) > 2:
        raise UserError(
            f"The sampling strategy {ratio:g} is a ratio, which needs two classes; there are "
            f"{len(labels)}: {_listed(labels)}. Give final counts per class instead."
        )
    minority = labels[int(np.argmin(counts))]
    wanted = int(max(counts) * ratio - min(counts))
    if wanted < 0 and not allow_reached:
        raise UserError(
            f"The sampling strategy {ratio:g} asks for {int(max(counts) * ratio)} rows of class "
            f"{minority}, which already has {min(counts)}: rows are only ever added."
        )
    return wanted <= 0
