"""Encode and decode JSON, and check plain values, from any thread.

msgspec (0.22) prepares a struct type when it is first used. Two threads that do so at once can wait for each other for
ever, one of them spinning with the interpreter's lock: a worker that never ends, a triggerer that stands still. So
types are prepared here, by one thread at a time, and nothing else uses ``msgspec.json`` or ``msgspec.convert``.
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
    """:returns: *value* as JSON: a struct, or plain values."""
    return msgspec.json.encode(value)


def indented(value: Any) -> str:
    """:returns: *value* as JSON for people."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """:returns: a JSON decoder for *kind*, which threads may share."""
    found = _decoders.get(kind)
    if found is None:
        with _preparing:
            found = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return found


def decode(data: bytes, kind: type[T]) -> T:
    """:raises msgspec.DecodeError: *data* is not JSON, or not a *kind* (then a :class:`msgspec.ValidationError`)."""
    return decoder(kind).decode(data)


def convert(value: Any, kind: type[T], dec_hook: Callable[[type, Any], Any] | None = None) -> T:
    """Check plain values, of YAML or XCom for example.

    :param dec_hook: as msgspec's.
    :raises msgspec.ValidationError: *value* is not a *kind*.
    """
    decoder(kind)
    return msgspec.convert(value, kind, dec_hook=dec_hook)
