"""Addresses without the keys and passwords that they may hold."""

from __future__ import annotations

import re

SECRET = re.compile(r"key|secret|token|sig|cred|passw", re.IGNORECASE)  # in a name


def without_keys(address: str) -> str:
    """An address without its user part, and without the parts of its query that are secret.

    ``anonymous`` stays: it is how a store is told to ask for no key.

    Examples
    --------
    >>> without_keys("s3://AKIA:secret@bucket/corpus?region=eu-west-1&session_token=abc")
    's3://bucket/corpus?region=eu-west-1'
    """
    scheme, there, rest = address.partition("://")
    if not there:
        return address
    place, question, query = rest.partition("?")
    host = place.partition("/")[0]
    has_user = "@" in host or (":" in host and not re.fullmatch(r"[^:]+:\d+", host))
    if has_user and not host.startswith("anonymous@"):
        # A secret may hold a "/" that should have been quoted.
        place = place.partition("@")[2] if "@" in place else place.partition("/")[2]
    kept = [part for part in query.split("&") if not SECRET.search(part.partition("=")[0])]
    query = "&".join(kept) if question else ""
    return f"{scheme}://{place}{'?' if query else ''}{query}"


def without_credentials(text: str) -> str:
    """The text with the keys taken out of its URIs: the user's part and the query."""
    text = re.sub(r"(\w://)[^/\s@]+@", r"\1", text)
    return re.sub(r"(\w://[^?\s]*)\?[^\s'\"]+", r"\1", text)
