"""The JSON schema of the cluster file, for editors and pipelines: ``restore-replay config schema`` prints it.

It is made of the sections' types. What several keys are only wrong together, ``restore-replay config check`` finds.
"""

from __future__ import annotations

import re
import types
import typing
from typing import Any

import msgspec

from airflow_restore_replay.core.config.cluster_section import CLUSTER_NAME, Cluster, Group
from airflow_restore_replay.core.config.mistakes import keys_of
from airflow_restore_replay.core.config.strict import Strict
from airflow_restore_replay.core.config.units import ByteCount, Seconds
from airflow_restore_replay.core.decoding import json_schema, plain

_NUMBER = r"^\s*[0-9]{1,300}(\.[0-9]{1,300})?\s*"
_UNITS: dict[type, dict[str, Any]] = {
    Seconds: {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": _NUMBER + r"(ms|s|m|h|d|w)?\s*$"},
        ],
    },
    ByteCount: {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": _NUMBER + r"(B|[KMGT]B|[KMGT]iB)?\s*$"},
        ],
    },
}


def cluster_file_schema() -> dict[str, Any]:
    """Return the schema of one file.

    Where there are defaults, a cluster may leave out any key, because a default may have it.
    """
    defs: dict[str, Any] = {}
    whole, partial = _Sections(defs, partial=False), _Sections(defs, partial=True)
    named = {"type": "object", "propertyNames": {"pattern": CLUSTER_NAME}}

    def clusters(sections: _Sections) -> dict[str, Any]:
        return {"properties": {"clusters": named | {"additionalProperties": sections.of(Cluster)}}}

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The cluster file of airflow-restore-replay",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "defaults": partial.of(Cluster),
            "clusters": {"type": "object"},
            "groups": named | {"additionalProperties": whole.of(Group)},
        },
        "if": {"required": ["defaults"]},
        "then": clusters(partial),
        "else": clusters(whole),
        "$defs": defs,
    }


class _Sections:
    """Schemas of sections.

    :param defs: gets the schema of each section.
    :param partial: sections may leave out any key; members of lists stay whole, because lists are not merged.
    """

    def __init__(self, defs: dict[str, Any], *, partial: bool) -> None:
        self._defs = defs
        self._partial = partial

    def of(self, hint: Any) -> dict[str, Any]:
        """Return the schema of a type."""
        if isinstance(hint, type) and issubclass(hint, Strict):
            return self._section(hint)
        arguments = typing.get_args(hint)
        if isinstance(hint, types.UnionType) and any(_has_section(each) for each in arguments):
            return {"anyOf": [self.of(each) for each in arguments]}
        if typing.get_origin(hint) is list and _has_section(arguments[0]):
            return {"type": "array", "items": _Sections(self._defs, partial=False).of(arguments[0])}
        return json_schema(hint, _UNITS.__getitem__)

    def _section(self, kind: type[Strict]) -> dict[str, Any]:
        title = f"partial.{kind.__name__}" if self._partial else kind.__name__
        if title not in self._defs:
            fields = keys_of(kind)
            required = [name for name, field in fields.items() if field.required]
            about = _parameters(kind)
            self._defs[title] = {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    key: self.of(field.type) | _told(field, about.get(key, ""))
                    for key, field in fields.items()
                },
            } | ({} if self._partial or not required else {"required": required})
        return {"$ref": f"#/$defs/{title}"}


def _has_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Strict)


def _told(field: msgspec.structs.FieldInfo, about: str) -> dict[str, Any]:
    told: dict[str, Any] = {"description": about} if about else {}
    default = field.default_factory() if callable(field.default_factory) else field.default
    if default in (None, msgspec.NODEFAULT) or isinstance(default, Strict):
        return told
    return told | {"default": plain(default)}


def _parameters(kind: type) -> dict[str, str]:
    """Return what the docstring of a section says of its keys."""
    found = re.findall(r":param ([\w, ]+): (.*?)(?=\n\s*:param |\Z)", kind.__doc__ or "", re.DOTALL)
    return {
        name.strip(): " ".join(text.replace("``", "`").split())
        for names, text in found
        for name in names.split(",")
    }
