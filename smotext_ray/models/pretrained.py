"""Load a model with transformers, and never run code that comes with it."""

from __future__ import annotations

from typing import Any

from smotext_ray.errors import UserError


def load_pretrained(kind: Any, name: str, **options: Any) -> Any:
    """Call ``kind.from_pretrained``, without code or adapters from the model's repository.

    By default transformers asks on a terminal whether to run the code of a repository. An adapter
    next to the weights would be loaded by peft, which imports a module that the adapter names.

    Parameters
    ----------
    kind : type
        One of transformers' ``Auto`` classes.
    name : str
        Directory or hub name of a model.
    **options
        Arguments of ``from_pretrained``.

    Raises
    ------
    UserError
        If the model cannot be loaded without its own code, or has an adapter next to its weights.
    """
    from transformers.utils.peft_utils import find_adapter_config_file

    if find_adapter_config_file(name) is not None:
        raise UserError(
            f"The model {name} comes with an adapter (adapter_config.json), which is not loaded; "
            "merge it into the weights first."
        )
    try:
        return kind.from_pretrained(name, trust_remote_code=False, **options)
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise UserError(
            f"The model {name} needs Python code from its own repository, which is never run here; "
            "use a model of an architecture that transformers has."
        ) from error
