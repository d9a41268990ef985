"""Load the configuration from preset, file, overrides and options."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from smotext_ray.config.schema import RunConfig
from smotext_ray.config.stored import config_json
from smotext_ray.errors import UserError, one_line

PRESETS = Path(__file__).parent / "presets"


def load_config(
    preset: str | None = None,
    file: str | None = None,
    overrides: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
    base: RunConfig | None = None,
) -> RunConfig:
    """Build a configuration.

    Parameters
    ----------
    preset : str, optional
        Name of a file in ``smotext_ray/config/presets``, without its extension.
    file : str, optional
        YAML file of sections.
    overrides : iterable of str
        ``section.key=value``; the value is read as YAML.
    options : mapping of str, optional
        ``section.key`` to value, from the command line's options.
    base : RunConfig, optional
        Base configuration instead of the defaults.

    Returns
    -------
    RunConfig

    Raises
    ------
    UserError
        For an unknown preset, section or key (with a suggestion), or an invalid value.
    """
    merged: dict[str, dict[str, Any]] = config_json(base) if base else {}
    if preset is not None:
        _merge(merged, _read_yaml(_preset_file(preset)))
    if file is not None:
        _merge(merged, _read_yaml(Path(file)))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"Invalid override {override!r}; write section.key=value.")
        _set(merged, key, _yaml_value(value, override))
    for key, option in (options or {}).items():
        _set(merged, key, option)
    _check_keys(merged)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # settings that contradict each other
            raise UserError(str(first["ctx"]["error"])) from error
        where = ".".join(str(part) for part in first["loc"][:2])
        raise UserError(f"{where} is invalid: {first['msg']} (got {first['input']!r}).") from error


def _preset_file(preset: str) -> Path:
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if preset not in known:
        raise UserError(f"Unknown preset {preset!r}. {_suggest(preset, known)}")
    return PRESETS / f"{preset}.yaml"


class _Loader(yaml.SafeLoader):
    """Keeps keys as written: in ``{no: 50}`` and ``{010: 50}`` they are class names."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        made: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key_node, yaml.ScalarNode):
                key = key_node.value
            if key in made:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} comes twice", key_node.start_mark
                )
            made[key] = self.construct_object(value_node, deep=deep)
        return made


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"The config file {file} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"The config file {file} is not YAML: {one_line(error)}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"The config file {file} must contain sections such as 'decoder:'.")
    return content


def _yaml_value(value: str, override: str) -> Any:
    try:
        return yaml.load(value, _Loader)
    except yaml.YAMLError as error:
        raise UserError(f"The value of {override!r} is not YAML: {one_line(error)}.") from error


def _merge(into: dict[str, dict[str, Any]], content: dict[str, Any]) -> None:
    for section, values in content.items():
        if not isinstance(values, dict):
            raise UserError(f"The config section {section!r} must contain keys and values.")
        into.setdefault(str(section), {}).update({str(k): v for k, v in values.items()})


def _set(into: dict[str, dict[str, Any]], key: str, value: Any) -> None:
    section, dot, name = key.partition(".")
    if not dot:
        raise UserError(f"Invalid setting {key!r}; write section.key.")
    into.setdefault(section, {})[name] = value


def _check_keys(merged: Mapping[str, Mapping[str, Any]]) -> None:
    sections = {name: field.annotation for name, field in RunConfig.model_fields.items()}
    for section, values in merged.items():
        if section not in sections:
            raise UserError(f"Unknown section {section!r}. {_suggest(section, sections)}")
        model: Any = sections[section]
        for key in values:
            if key not in model.model_fields:
                raise UserError(
                    f"Unknown setting {section}.{key}. {_suggest(key, model.model_fields)}"
                )


def _suggest(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    listed = f"Available: {', '.join(names)}."
    return f"Did you mean {near[0]!r}? {listed}" if near else listed
