"""The help of ``smotext`` itself: commands in groups, in the order in which they are needed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

DESCRIPTION = "Balance a text dataset with new labeled texts: SMOTExT on Ray."
GROUPS = {
    "Start": ("doctor", "interpolate", "play"),
    "Balance a dataset": ("augment", "expand", "embed", "plan", "decode"),
    "Look at a run": ("status", "show", "verify"),
    "Measure and share it": ("evaluate", "canaries", "card", "push"),
    "Models of your own": ("train-bridge", "bridge", "directions"),
}
EXAMPLES = """\
examples:
  smotext interpolate "I love this phone." "The camera is terrible."
  smotext augment --input tickets.csv --text-column body --label-column queue \\
      --output runs/tickets --dry-run
  smotext show runs/tickets --order worst
  smotext evaluate --run runs/tickets --test held-out.csv --output report

"smotext COMMAND --help" lists the options of a command. The documents are in
docs/ of the source; "make docs" builds them as a site."""
WIDTH = 14


class OverviewFormatter(argparse.RawDescriptionHelpFormatter):
    """Omits argparse's own list of commands, because the description has them in groups."""

    def _format_action(self, action: argparse.Action) -> str:
        is_list = isinstance(action, argparse._SubParsersAction)
        return "" if is_list else super()._format_action(action)


def overview(description: str, commands: Mapping[str, str]) -> str:
    """The description, each group with its commands, and examples.

    Parameters
    ----------
    description : str
    commands : mapping of str to str
        Help text by command name.
    """
    parts = [description]
    for title, names in GROUPS.items():
        lines = [f"  {name.ljust(WIDTH)}{commands[name]}" for name in names]
        parts.append("\n".join([f"{title}:", *lines]))
    return "\n\n".join(parts)
