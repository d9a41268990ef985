"""What an uncased encoder's embedding does not tell about a text: its length, case and punctuation.

A text in lower case and the same text with capitals have one embedding, so without this the LLM
would write either as the texts that its bridge was trained on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Lengths in tokens between which `length_code` interpolates: half octaves from 4 to 256.
LENGTHS = 2.0 ** np.arange(2, 8.5, 0.5)
FORMS = ("lower case", "mixed case", "upper case", "punctuation", "no punctuation")
SIZE = len(LENGTHS) + len(FORMS)
# The last ones are those of Chinese and Japanese.
PUNCTUATION = re.compile(r"""[.,;:!?"()\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f]|--""")


def form_of(texts: Sequence[str | None]) -> NDArray[np.float32]:
    """Indicators of each text's case and punctuation.

    Parameters
    ----------
    texts : sequence of str or None, length n

    Returns
    -------
    ndarray of shape (n, 5), float32
        In the order of `FORMS`: one of the three cases, unless the script has none, and with
        punctuation or without. Zeros for None and for a text without letters.

    Examples
    --------
    >>> form_of(["grain shipments rose", "Who was Galileo?"]).astype(int).tolist()
    [[1, 0, 0, 0, 1], [0, 1, 0, 1, 0]]
    """
    found = np.zeros((len(texts), len(FORMS)), np.float32)
    for row, text in zip(found, texts, strict=True):
        if text is None or not any(map(str.isalpha, text)):
            continue
        lower, upper = text.lower(), text.upper()
        if lower != upper:
            row[0 if text == lower else 2 if text == upper else 1] = 1.0
        row[3 if PUNCTUATION.search(text) else 4] = 1.0
    return found


def length_code(lengths: ArrayLike) -> NDArray[np.float32]:
    """Weights of the two reference lengths around each length, linear in its logarithm.

    Parameters
    ----------
    lengths : array-like of shape (n,)
        In tokens; 0 if unknown.

    Returns
    -------
    ndarray of shape (n, 13), float32
        Each row sums to 1, or is zero for an unknown length.

    Examples
    --------
    >>> length_code([16, 0])[:, 3:6].tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    given = np.asarray(lengths, np.float64)
    at = np.interp(np.log2(np.maximum(given, 1.0)), np.log2(LENGTHS), np.arange(len(LENGTHS)))
    weights = np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(len(LENGTHS))))
    return np.where(given[:, None] > 0, weights, 0.0).astype(np.float32)


def style_of(texts: Sequence[str | None], lengths: ArrayLike) -> NDArray[np.float32]:
    """A style for each text: a length, and the text's case and punctuation.

    Parameters
    ----------
    texts : sequence of str or None, length n
    lengths : array-like of shape (n,)
        In tokens; 0 if unknown.

    Returns
    -------
    ndarray of shape (n, SIZE), float32
        `length_code` and `form_of` side by side.
    """
    return np.concatenate([length_code(lengths), form_of(texts)], axis=1)
