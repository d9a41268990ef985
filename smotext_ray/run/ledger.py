"""The ledger of a corpus: a file for each release, in a directory next to the input.

It goes by location, not by content: a digest of the corpus would help to guess its texts, and a
corpus that has grown still has its earlier records. Of two processes that write at once, each
sees both files, so together they never exceed the budget; on a network file system that lists files
late, this holds only if they are a minute apart.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from pyarrow import fs as pafs

from smotext_ray.config.schema import RunConfig
from smotext_ray.corpus.sources import DEMO, find_files
from smotext_ray.errors import UserError
from smotext_ray.privacy.budget import Charge, total_epsilon
from smotext_ray.run.directory import Run, write_whole
from smotext_ray.safe_text import without_keys
from smotext_ray.utils.cache import cache_dir
from smotext_ray.utils.filesystems import open_filesystem

SUFFIX = ".privacy-ledger"
ROUNDING = 1e-9  # tolerance for an epsilon that is computed in two ways


@dataclass(frozen=True)
class Entry:
    """A file of the ledger: which run was charged, and how much."""

    file: str
    run: str
    charge: Charge


class Ledger:
    """The releases of a corpus so far.

    Parameters
    ----------
    config : RunConfig
        ``privacy.ledger`` names the directory; default: next to the input.
    """

    def __init__(self, config: RunConfig) -> None:
        self.uri = config.privacy.ledger or default_place(config.input.path)
        self._fs, self._path = open_filesystem(self.uri)

    def entries(self) -> list[Entry]:
        """All charges, in no particular order.

        Raises
        ------
        UserError
            If a file is damaged, because it is then unknown what was released.
        """
        selector = pafs.FileSelector(self._path, allow_not_found=True)
        names = [info.base_name for info in self._fs.get_file_info(selector)]
        return [
            self._entry(name)
            for name in names
            if name.endswith(".json") and not name.startswith("_")
        ]

    def charge(self, run: Run, created: str, config: RunConfig) -> None:
        """Record a release before it is made, and refuse it if it exceeds the budget.

        Parameters
        ----------
        run : Run
        created : str
            When the run started, from its manifest.
        config : RunConfig

        Raises
        ------
        UserError
            If this and all earlier releases together exceed ``privacy.budget``, or the ledger
            cannot be written. Then nothing is charged.
        """
        charge = Charge.of(config.privacy)
        own = self._own(run, created)
        _check(self.uri, config, charge, self._others(own), own)
        name = _name(run, created, len(own))
        content = {
            "run": run.shown,
            "created": created,
            "epsilon": config.privacy.epsilon,
            "neighbors": config.privacy.neighbors,
            "charge": asdict(charge),
        }
        try:
            write_whole(self._fs, self._at(name), json.dumps(content, indent=2).encode())
        except OSError as error:
            raise UserError(
                f"The privacy ledger {without_keys(self.uri)} cannot be written, so nothing is "
                "released; name a directory that lasts with privacy.ledger."
            ) from error
        try:
            others = [entry for entry in self._others(own) if entry.file != name]
            _check(self.uri, config, charge, others, own)
        except UserError:  # another process was faster
            self._fs.delete_file(self._at(name))
            raise

    def _own(self, run: Run, created: str) -> list[Entry]:
        """The charges of a run that was killed, found by name: a listing may be late."""
        found: list[Entry] = []
        while self._exists(name := _name(run, created, len(found))):
            found.append(self._entry(name))
        return found

    def _others(self, own: list[Entry]) -> list[Entry]:
        names = {entry.file for entry in own}
        return [entry for entry in self.entries() if entry.file not in names]

    def _entry(self, name: str) -> Entry:
        try:
            with self._fs.open_input_stream(self._at(name)) as stream:
                content = json.loads(stream.read())
            return Entry(name, content["run"], Charge(**content["charge"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"The privacy ledger has a damaged file, {self._at(name)}; restore it from a copy, "
                "because without it nobody knows what was released of this corpus."
            ) from error

    def _exists(self, name: str) -> bool:
        return bool(self._fs.get_file_info(self._at(name)).type == pafs.FileType.File)

    def _at(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"


def _name(run: Run, created: str, number: int) -> str:
    digest = hashlib.sha256(f"{run.shown}\n{created}".encode()).hexdigest()
    return f"{created[:10]}-{digest[:16]}-{number}.json"


def _check(
    uri: str, config: RunConfig, charge: Charge, others: list[Entry], own: list[Entry]
) -> None:
    privacy, before = config.privacy, [entry.charge for entry in [*others, *own]]
    epsilon, delta = total_epsilon([*before, charge], privacy.neighbors)
    assert privacy.epsilon is not None
    budget = privacy.budget or privacy.epsilon
    if epsilon <= budget * (1 + ROUNDING):
        return
    lost = " (this run's, whose noise was drawn and lost, among them)" if own else ""
    raise UserError(
        f"This corpus was released {len(before)} time{'s' * (len(before) != 1)} before{lost}; "
        f"once more makes epsilon {epsilon:.4g} and delta {delta:.3g} in all, above "
        f"{budget:g}; allow it with privacy.budget, or use an earlier run ("
        f"{without_keys(uri)} lists them)."
    )


def default_place(path: str) -> str:
    """The directory of an input's ledger: next to the input, or in the cache if it is not a path.

    Parameters
    ----------
    path : str
        ``input.path``.
    """
    has_no_place = path.startswith(DEMO) or path == "-"
    if has_no_place or ("://" not in path and find_files(path) is None):
        return str(cache_dir() / "ledgers" / (re.sub(r"[^\w.-]", "_", path) + SUFFIX))
    query = ""
    if "://" in path:
        path, mark, options = path.partition("?")
        query = mark + options
    fixed = re.split(r"[*?\[]", path)[0] if not path.startswith("file:") else path
    if fixed != path:
        fixed = fixed.rpartition("/")[0] or "."
    return fixed.rstrip("/") + SUFFIX + query
