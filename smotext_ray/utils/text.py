"""Words and fingerprints of texts."""

from __future__ import annotations

import hashlib
import re


def words(text: str) -> list[str]:
    """Words of a text, lower case, without punctuation."""
    return re.findall(r"\w+", text.casefold())


def fingerprint(text: str) -> int:
    """64-bit hash of a text, ignoring case and white space; fits int64."""
    normal = " ".join(text.casefold().split())
    digest = hashlib.blake2b(normal.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
