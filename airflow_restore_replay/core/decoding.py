"""Encode and decode JSON, and check plain values, from any thread.

msgspec (0.22) prepares a struct type on first use. Two threads that do so at the same time can deadlock, one of them
spinning while it holds the interpreter's lock: the worker never ends, or the triggerer hangs. This module therefore
prepares types in one thread at a time, and no other module uses ``msgspec.json`` or ``msgspec.convert``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_preparing = threading.Lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def encode(value: Any) -> bytes:
    """Return *value*, a struct or plain values, as JSON."""
    return msgspec.json.encode(value)


def indented(value: Any) -> str:
    """Return *value* as indented JSON for people."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return a JSON decoder for *kind* that threads may share."""
    found = _decoders.get(kind)
    if found is None:
        with _preparing:
            found = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return found


def decode(data: bytes, kind: type[T]) -> T:
    """Decode JSON to a *kind*.

    :raises msgspec.DecodeError: *data* is not JSON, or not a *kind* (then a :class:`msgspec.ValidationError`).
    """
    return decoder(kind).decode(data)


def convert(value: Any, kind: type[T], dec_hook: Callable[[type, Any], Any] | None = None) -> T:
    """Convert plain values, for example from YAML or XCom, to a *kind*, and validate them.

    :param dec_hook: passed to :func:`msgspec.convert`.
    :raises msgspec.ValidationError: *value* is not a *kind*.
    """
    decoder(kind)
    return msgspec.convert(value, kind, dec_hook=dec_hook)
