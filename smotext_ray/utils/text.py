"""The words of a text, and when two texts are the same.

Two texts of the corpus are the same if they differ only in the white space around them
(`distinct_part`): they count once, are not each other's neighbors, and take part in a plan only
once. For synthetic texts the criterion is broader: one is also a copy if only letter case or
inner white space differs (`fingerprint`).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

# Unicode's separators, control and format characters, such as a space, a tab, a zero-width space.
UNSEEN = {"Zs", "Zl", "Zp", "Cc", "Cf"}


def words(text: str) -> list[str]:
    """Words of a text, lower case, without punctuation."""
    return re.findall(r"\w+", text.casefold())


def distinct_part(text: str) -> str:
    """The part of a corpus text that makes it distinct: all except the white space around it.

    Examples
    --------
    >>> distinct_part(" Wheat prices rose.\\n")
    'Wheat prices rose.'
    """
    return text.strip()


def is_blank(text: str) -> bool:
    """Whether a text is invisible: it has only white space and format characters.

    Examples
    --------
    >>> is_blank(" \\u200b\\n"), is_blank(" a ")
    (True, False)
    """
    return all(unicodedata.category(c) in UNSEEN for c in text)


def alike(label: str) -> str:
    """A key that is equal for labels that a reader may take for the same one.

    Examples
    --------
    >>> alike("Spam ") == alike("spam")
    True
    """
    composed = unicodedata.normalize("NFKC", label)
    seen = "".join(c for c in composed if unicodedata.category(c) != "Cf")
    return " ".join(seen.casefold().split())


def fingerprint(text: str) -> int:
    """64-bit hash of a text, ignoring case and white space; fits int64.

    Examples
    --------
    >>> fingerprint("Wheat  prices ROSE.") == fingerprint("wheat prices rose.")
    True
    """
    return text_hash(" ".join(text.casefold().split()))


def text_hash(text: str) -> int:
    """64-bit hash of a text, the same in every process; fits int64."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
