"""Text that is safe to show and to publish: without credentials and control characters.

Every error message, log line, report and card goes through `safe`; so does an address before it is
stored.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

# Options of a store's address that contain no secret; all others are removed.
SHOWN_OPTIONS = {
    *("region", "scheme", "endpoint_override", "retry_limit_seconds", "anonymous"),
    *("allow_bucket_creation", "allow_bucket_deletion", "background_writes"),
    *("blob_storage_authority", "dfs_storage_authority", "enable_tls"),
}
BUCKETS = {"s3", "s3a", "s3n", "gs", "gcs"}  # schemes without a port
# Schemes whose user part is a container or a login name, with the password after a colon.
NAMED_USERS = {"abfs", "abfss", "wasb", "wasbs", "hdfs", "webhdfs", "sftp", "ssh", "smb"}

_CHAIN = re.compile(r"::(?=[\w+.-]+://)")  # fsspec: zip://rows.csv::s3://bucket/rows.zip
_PORT = re.compile(r"(\[[^]]*\]|[^:]*)(:\d+)?")
_ADDRESS = re.compile(r"[A-Za-z][\w+.:-]*://[^\s<>\"]+")
_END = re.compile(r"['`).,;:\]}]*$")
_ASSIGNED = re.compile(
    r"(?i)((?:[\w-]*[_-])?(?:secret|passwd|password|pwd|token|(?:access|account|api|private|secret)"
    r"[_-]?key(?:[_-]?id)?)[\"']?\s*[=:]\s*[\"']?)[^\s,;&\"'}]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_KNOWN_KEYS = re.compile(r"\b(hf_\w{8,}|(?:AKIA|ASIA)[0-9A-Z]{12,})")

# C0 except line feed and tab, DEL, C1, and characters that reorder the text around them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """The text without credentials, and with control characters spelled out.

    Examples
    --------
    >>> safe("s3://AKIA:secret@bucket/run has the class '\\x1b[2Jspam'.")
    "s3://bucket/run has the class '\\\\x1b[2Jspam'."
    """
    return visible(without_secrets(text))


def without_keys(address: str) -> str:
    """A path or URI without passwords, access keys, unknown options and its fragment.

    ``anonymous`` stays: it means access without credentials.

    Examples
    --------
    >>> without_keys("s3://AKIA:secret@bucket/corpus?region=eu-west-1&session_token=abc")
    's3://bucket/corpus?region=eu-west-1'
    >>> without_keys("abfs://container:secret@account.dfs.core.windows.net/corpus")
    'abfs://container@account.dfs.core.windows.net/corpus'
    """
    return "::".join(_one_address(part) for part in _CHAIN.split(address))


def without_secrets(text: str) -> str:
    """The text with `without_keys` applied to its URIs, and without the values of known keys.

    Examples
    --------
    >>> without_secrets("AWS_SECRET_ACCESS_KEY=abc does not open https://me:abc@host/x?code=1.")
    'AWS_SECRET_ACCESS_KEY=*** does not open https://host/x.'
    """
    text = _ADDRESS.sub(_address_in_text, text)
    text = _ASSIGNED.sub(r"\1***", text)
    text = _BEARER.sub(r"\1 ***", text)
    return _KNOWN_KEYS.sub("***", text)


def visible(text: str) -> str:
    r"""The text with control characters, which a terminal would obey, as escape sequences.

    Line feeds and tabs stay.

    Examples
    --------
    >>> print(visible("a\x1b]52;c;ZXZpbA==\x07b"))
    a\x1b]52;c;ZXZpbA==\x07b
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _one_address(address: str) -> str:
    scheme, there, rest = address.partition("://")
    if not there:
        return address
    place, _, query = rest.partition("#")[0].partition("?")
    place = _without_user(scheme.lower(), place)
    options = "&".join(part for part in query.split("&") if _is_shown(part))
    return f"{scheme}://{place}{'?' if options else ''}{options}"


def _without_user(scheme: str, place: str) -> str:
    host, slash, path = place.partition("/")
    if "@" in host:
        user, _, host = host.rpartition("@")
        place = f"{host}{slash}{path}"
    elif ":" in host and (scheme in BUCKETS or not _PORT.fullmatch(host)):
        # A secret may contain a "/" that should have been quoted.
        user = host
        place = place.rpartition("@")[2] if "@" in place else path
    else:
        return place
    if user == "anonymous" or (scheme in NAMED_USERS and user.partition(":")[0]):
        return f"{user.partition(':')[0]}@{place}"
    return place


def _is_shown(option: str) -> bool:
    name, _, value = option.partition("=")
    return name in SHOWN_OPTIONS and "@" not in unquote(value)


def _address_in_text(match: re.Match[str]) -> str:
    end = _END.search(match[0])
    assert end is not None  # it may be empty
    return without_keys(match[0][: end.start()]) + end[0]
