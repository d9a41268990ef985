"""Open the file system of a path or URI, with a limit on retries."""

from __future__ import annotations

import os
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs as pafs

from smotext_ray.errors import UserError
from smotext_ray.safe_text import without_keys


def open_filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system and the path of a directory or URI."""
    if uri.startswith("file:"):  # also with one slash, or with spaces, which pyarrow rejects
        return pafs.LocalFileSystem(), "/" + unquote(uri.removeprefix("file:")).lstrip("/")
    if "://" not in uri:
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(uri))
    try:
        return pafs.FileSystem.from_uri(with_retry_limit(uri))
    except (pa.ArrowInvalid, OSError) as error:
        refused = error
    try:
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(uri)
    except Exception as error:
        reason = error if "Unrecognized filesystem type" in str(refused) else refused
        shown = without_keys(uri)
        said = str(reason).replace(with_retry_limit(uri), shown).replace(uri, shown)
        raise UserError(f"The URI {shown} cannot be opened: {said.rstrip('.')}.") from error
    return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path


def child(uri: str, name: str) -> str:
    """The address of a file or directory below a directory or URI.

    Examples
    --------
    >>> child("s3://bucket/run?region=eu-west-1", "bridge")
    's3://bucket/run/bridge?region=eu-west-1'
    """
    if "://" not in uri:
        return f"{uri.rstrip('/')}/{name}"
    place, mark, options = uri.partition("?")
    return f"{place.rstrip('/')}/{name}{mark}{options}"


def with_retry_limit(uri: str) -> str:
    """The URI, with a retry limit if it is a Google bucket.

    pyarrow's default limit is 15 minutes: an unreachable store or missing credentials would look
    like a hang.

    Examples
    --------
    >>> with_retry_limit("gs://bucket/corpus")
    'gs://bucket/corpus?retry_limit_seconds=30'
    """
    place, _, options = uri.partition("?")
    if not place.startswith(("gs://", "gcs://")) or "retry_limit_seconds" in options:
        return uri
    return f"{place}?{options}{'&' if options else ''}retry_limit_seconds=30"
