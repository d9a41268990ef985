"""How many points each class gets, and which classes can get any."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from smotext_ray.config.choices import OnProblem
from smotext_ray.errors import UserError
from smotext_ray.utils.text import alike
from smotext_ray.utils.unique_keys import KeyTwice, unique_keys

STRATEGIES = ("auto", "minority", "not minority", "not majority", "all")
LISTED = 10


def targets(
    class_counts: Mapping[Any, int],
    sampling_strategy: str | float | Mapping[Any, int],
    allow_reached: bool = False,
    names: Mapping[Any, str] | None = None,
) -> dict[Any, int]:
    """New points per class, by imbalanced-learn's rules.

    Parameters
    ----------
    class_counts : mapping of label to int
        Rows per class.
    sampling_strategy : str, float or mapping
        Any form accepted by imbalanced-learn's over-samplers: "auto", "minority", "not minority",
        "not majority", "all"; for two classes the desired minority/majority ratio in (0, 1]; or
        final counts per label, where labels may be strings (``"1"`` for 1). A string with a JSON
        number or object is parsed.
    allow_reached : bool, default=False
        Treat a target below the current count as reached rather than as an error, because a
        growing corpus passes its targets.
    names : mapping of label to str, optional
        Display names of the classes, if other than their labels; a strategy may use either.

    Returns
    -------
    dict of label to int
        Only classes that get points; empty if all are at their target already.

    Raises
    ------
    UserError
        For fewer than two classes, an unknown word, an unknown label, a target below the current
        count (unless allowed), or an invalid ratio.

    Examples
    --------
    >>> targets({"grain": 41, "ship": 108, "earn": 300}, '{"grain": 160, "ship": 160}')
    {'grain': 119, 'ship': 52}
    """
    # imblearn resolves ties by the order of the labels, as sorted by np.unique.
    labels = _ordered(label for label, count in class_counts.items() if count > 0)
    counts = [class_counts[label] for label in labels]
    shown = [called(label, names) for label in labels]
    if len(labels) < 2:
        raise UserError(f"Balancing needs at least two classes; there are: {_listed(shown)}.")
    strategy = read_strategy(sampling_strategy)
    if isinstance(strategy, dict):
        return mapped_targets(class_counts, strategy, allow_reached, names)
    if isinstance(strategy, float) and _is_reached(strategy, shown, counts, allow_reached):
        return {}
    from imblearn.utils import (
        check_sampling_strategy,
    )  # takes seconds, and final counts do not need it

    codes = np.repeat(np.arange(len(labels), dtype=np.min_scalar_type(len(labels))), counts)
    try:
        new_points = check_sampling_strategy(strategy, codes, "over-sampling")
    except ValueError as error:
        raise UserError(f"Invalid sampling strategy: {error}") from error
    return {labels[code]: int(count) for code, count in new_points.items() if count > 0}


def synthetic_targets(
    class_counts: Mapping[Any, int],
    sampling_strategy: str | float | Mapping[Any, int],
    names: Mapping[Any, str] | None = None,
    *,
    allow_unknown: bool = False,
) -> dict[Any, int]:
    """Texts per class of a result without original rows: as many as the class should have in all.

    Parameters
    ----------
    class_counts : mapping of label to int
        Rows per class, possibly noised.
    sampling_strategy : str, float or mapping
        As in `targets`. The counts of a mapping are those of the result, and may be above or below
        the class's count; classes that it does not name keep their count.
    names : mapping of label to str, optional
        As in `targets`.
    allow_unknown : bool, default=False
        Ignore classes of a mapping that do not exist.

    Returns
    -------
    dict of label to int

    Raises
    ------
    UserError
        As in `targets`.

    Examples
    --------
    >>> synthetic_targets({"grain": 20, "ship": 50}, "auto")
    {'grain': 50, 'ship': 50}
    >>> synthetic_targets({"grain": 20, "ship": 50}, {"ship": 30})
    {'grain': 20, 'ship': 30}
    """
    strategy = read_strategy(sampling_strategy)
    if isinstance(strategy, dict):
        labels = _ordered(class_counts)
        shown = [called(label, names) for label in labels]
        if allow_unknown:
            known = {name for name in strategy if _is_known(str(name), labels, shown)}
            strategy = {name: number for name, number in strategy.items() if name in known}
        final = _final_counts(strategy, labels, shown, [0] * len(labels), True)
        named = {labels[code]: number for code, number in final.items()}
        wanted = {label: named.get(label, count) for label, count in class_counts.items()}
    else:
        more = targets(class_counts, strategy, True, names)
        wanted = {label: count + more.get(label, 0) for label, count in class_counts.items()}
    return {label: number for label, number in wanted.items() if number}


def check_class_sizes(
    distinct: Mapping[Any, int],
    new_points: Mapping[Any, int],
    k_neighbors: int,
    on_singleton_class: OnProblem,
    names: Mapping[Any, str] | None = None,
) -> tuple[dict[Any, int], list[str]]:
    """Skip or reject classes without neighbors; warn about those with few.

    Parameters
    ----------
    distinct : mapping of label to int
        Distinct stripped texts per class.
    new_points : mapping of label to int
        From `targets`.
    k_neighbors : int
    on_singleton_class : {"error", "skip"}
        What to do with a class that has one distinct text.
    names : mapping of label to str, optional
        As in `targets`.

    Returns
    -------
    kept : dict of label to int
        ``new_points`` without the skipped classes.
    warnings : list of str
        One sentence per class, in the order of ``new_points``.

    Raises
    ------
    UserError
        For classes with one distinct text, unless they are skipped.
    """
    singletons = [label for label in new_points if distinct.get(label, 0) < 2]
    if singletons and on_singleton_class == "error":
        raise UserError(singleton_sentence([called(label, names) for label in singletons]))
    kept: dict[Any, int] = {}
    warnings: list[str] = []
    for label, count in new_points.items():
        neighbors, name = distinct.get(label, 0) - 1, called(label, names)
        if neighbors < 1:
            warnings.append(f"Class {name!r} is skipped: it has only one distinct text.")
            continue
        kept[label] = count
        if neighbors < k_neighbors:
            warnings.append(
                f"Using k_neighbors={neighbors} instead of {k_neighbors} for class {name!r} "
                f"({neighbors + 1} distinct texts)."
            )
    return kept, warnings


def called(label: Any, names: Mapping[Any, str] | None) -> Any:
    """The name of a class; its label if it has no name."""
    return (names or {}).get(label, label)


def singleton_sentence(labels: list[Any], skip: str = "--on-singleton-class skip") -> str:
    """The error message for singleton classes; ``skip`` is the option that skips them."""
    one = len(labels) == 1
    return (
        f"{'Class' if one else 'Classes'} {_listed(labels)} {'has' if one else 'have'} only "
        "one distinct text, so there is nothing to interpolate with: add texts, exclude the "
        f"class from the sampling strategy, or use {skip}."
    )


def twice_sentence(name: str) -> str:
    """The error message for a class that occurs twice in a strategy."""
    return f"The sampling strategy has the class {name!r} twice; name it once."


def _ordered(labels: Iterable[Any]) -> list[Any]:
    found = list(labels)
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=str)


def _listed(labels: Iterable[Any]) -> str:
    names = [repr(label) for label in labels]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return (", ".join(names[:LISTED]) + more) or "none"


def mapped_targets(
    class_counts: Mapping[Any, int],
    strategy: Mapping[Any, Any],
    allow_reached: bool,
    names: Mapping[Any, str] | None,
) -> dict[Any, int]:
    """New rows per class for a mapping of final counts; see `targets`."""
    labels = _ordered(label for label, count in class_counts.items() if count > 0)
    counts = [class_counts[label] for label in labels]
    shown = [called(label, names) for label in labels]
    final = _final_counts(strategy, labels, shown, counts, allow_reached)
    new = {code: number - counts[code] for code, number in sorted(final.items())}
    return {labels[code]: number for code, number in new.items() if number}


def read_strategy(given: Any) -> str | float | dict[Any, Any]:
    """Parse a sampling strategy into a word, a ratio or final counts.

    Raises
    ------
    UserError
        If it is none of these.
    """
    strategy = given
    if isinstance(given, str) and given not in STRATEGIES:
        try:
            strategy = json.loads(given, object_pairs_hook=unique_keys)
        except KeyTwice as error:
            raise UserError(twice_sentence(error.args[0])) from None
        except ValueError:
            pass  # reported below
    if isinstance(strategy, Mapping):
        return dict(strategy)
    if isinstance(strategy, (int, float, np.number)) and not isinstance(strategy, bool):
        return float(strategy)
    if isinstance(strategy, str) and strategy in STRATEGIES:
        return strategy
    raise UserError(
        f"Unknown sampling strategy {given!r}: use one of {', '.join(STRATEGIES)}, "
        "a ratio for two classes, or a JSON object of label to final count."
    )


def _final_counts(
    strategy: Mapping[Any, Any],
    labels: list[Any],
    shown: list[Any],
    counts: list[int],
    allow_reached: bool,
) -> dict[int, int]:
    """The strategy with labels replaced by their codes."""
    final: dict[int, int] = {}
    for name, count in strategy.items():
        code = _code_of(str(name), labels, shown)
        number = isinstance(count, (int, float, np.number)) and not isinstance(count, bool)
        if not number or not math.isfinite(count) or count != int(count):
            raise UserError(
                f"The sampling strategy asks for {count!r} rows of class {name!r}; "
                "give a whole number."
            )
        if count < counts[code] and not allow_reached:
            raise UserError(
                f"The sampling strategy asks for {int(count)} rows of class {name!r}, which "
                f"already has {counts[code]}; rows are never removed, so ask for more."
            )
        if code in final:
            raise UserError(
                f"The sampling strategy has the class {shown[code]!r} twice, the second time as "
                f"{name!r}; name it once."
            )
        final[code] = max(int(count), counts[code])
    return final


def _code_of(name: str, labels: list[Any], shown: list[Any]) -> int:
    """Index of the class that a name refers to: by its shown name, label, or an equal value."""
    names, written = [str(each) for each in shown], [str(label) for label in labels]
    for known in (names, written):
        if name in known:
            return known.index(name)
    for code, label in enumerate(labels):
        if isinstance(label, bool):
            if name.casefold() == str(label).casefold():
                return code
        elif isinstance(label, int) and re.fullmatch(rf"{label}\.0+", name):
            return code
    near = [each for each in names if alike(each) == alike(name)]
    near = near or difflib.get_close_matches(name, names, n=1)
    advice = f"did you mean {near[0]!r}? The" if near else "the"
    raise UserError(
        f"The sampling strategy has the unknown class {name!r}; {advice} corpus has: "
        f"{_listed(shown)}."
    )


def _is_known(name: str, labels: list[Any], shown: list[Any]) -> bool:
    try:
        _code_of(name, labels, shown)
    except UserError:
        return False
    return True


def _is_reached(ratio: float, labels: list[Any], counts: list[int], allow_reached: bool) -> bool:
    """Check a ratio; True if there is nothing to add, which imblearn would treat as an error."""
    if not 0 < ratio <= 1:
        raise UserError(f"A ratio as sampling strategy must be in (0, 1], not {ratio:g}.")
    if len(labels) > 2:
        raise UserError(
            f"The sampling strategy {ratio:g} is a ratio, which needs two classes; the corpus has "
            f"{len(labels)}: {_listed(labels)}. Give final counts per class instead."
        )
    minority = labels[int(np.argmin(counts))]
    wanted = int(max(counts) * ratio - min(counts))
    if wanted < 0 and not allow_reached:
        raise UserError(
            f"The sampling strategy {ratio:g} asks for {int(max(counts) * ratio)} rows of class "
            f"{minority}, which already has {min(counts)}; rows are never "
            "removed, so raise the ratio."
        )
    return wanted <= 0
