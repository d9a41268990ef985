"""Remove keys and passwords from URIs."""

from __future__ import annotations

import re

SECRET = re.compile(r"key|secret|token|sig|cred|passw", re.IGNORECASE)  # in a parameter name


def without_keys(address: str) -> str:
    """A URI without its user part and without secret query parameters.

    ``anonymous`` stays: it means access without credentials.

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
        # A secret may contain a "/" that should have been quoted.
        place = place.partition("@")[2] if "@" in place else place.partition("/")[2]
    kept = [part for part in query.split("&") if not SECRET.search(part.partition("=")[0])]
    query = "&".join(kept) if question else ""
    return f"{scheme}://{place}{'?' if query else ''}{query}"


def without_credentials(text: str) -> str:
    """The text with credentials (user part and query) removed from its URIs."""
    text = re.sub(r"(\w://)[^/\s@]+@", r"\1", text)
    return re.sub(r"(\w://[^?\s]*)\?[^\s'\"]+", r"\1", text)
