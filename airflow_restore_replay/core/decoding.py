"""Encode and decode JSON, and check plain values, from any thread.

msgspec (0.22) prepares a struct type on first use. Two threads that do so at the same time can deadlock, one of them
spinning while it holds the interpreter's lock: the worker never ends, or the triggerer hangs. This module therefore
prepares types in one thread at a time, and no other module uses ``msgspec.json`` or ``msgspec.convert``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
K = TypeVar("K", bound=type)

_preparing = threading.Lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
#: types of this package that msgspec does not know → the plain type that stands for them in JSON
_plain_types: dict[type, type] = {}


def travels_as(plain_type: type) -> Callable[[K], K]:
    """Let values of a class travel as *plain_type*; the class is called with the plain value to make one again."""

    def register(kind: K) -> K:
        _plain_types[kind] = plain_type
        return kind

    return register


def encode(value: Any) -> bytes:
    """Return *value*, a struct or plain values, as JSON."""
    return msgspec.json.encode(value, enc_hook=_to_plain)


def indented(value: Any) -> str:
    """Return *value* as JSON for people."""
    return msgspec.json.format(encode(value), indent=2).decode()


def plain(value: Any) -> Any:
    """Return *value* as plain values, fit for XCom and YAML; :func:`convert` reads them back."""
    return msgspec.to_builtins(value, enc_hook=_to_plain)


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """Return a JSON decoder for *kind*, which threads may share."""
    found = _decoders.get(kind)
    if found is None:
        with _preparing:
            found = _decoders.setdefault(kind, msgspec.json.Decoder(kind, dec_hook=_from_plain))
    return found


def decode(data: bytes, kind: type[T]) -> T:
    """Decode JSON.

    :raises msgspec.DecodeError: *data* is not JSON, or not a *kind* (then a :class:`msgspec.ValidationError`).
    """
    with _malformed():
        return decoder(kind).decode(data)


def decode_lines(data: bytes, kind: type[T]) -> list[T]:
    """Decode lines of JSON, each a *kind*; see :func:`decode`."""
    with _malformed():
        return decoder(kind).decode_lines(data)


def json_schema(kind: Any, of_plain: Callable[[type], dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON schema of a type without structs.

    :param of_plain: returns the schema of a type of this package that msgspec does not know.
    """
    return msgspec.json.schema(kind, schema_hook=of_plain)


def convert(value: Any, kind: type[T]) -> T:
    """Check plain values, of YAML or XCom for example.

    :raises msgspec.ValidationError: *value* is not a *kind*.
    """
    decoder(kind)
    try:
        return msgspec.convert(value, kind, dec_hook=_from_plain)
    except RecursionError:
        raise msgspec.ValidationError("It is nested too deeply.") from None


@contextlib.contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise msgspec.DecodeError("JSON is nested too deeply") from None
    except UnicodeDecodeError as exc:
        raise msgspec.DecodeError(f"JSON is not UTF-8: {exc}") from None


def _to_plain(value: Any) -> Any:
    for kind, plain_type in _plain_types.items():
        if isinstance(value, kind):
            return plain_type(value)
    raise NotImplementedError(f"cannot encode {type(value)}")


def _from_plain(kind: type, value: Any) -> Any:
    if kind in _plain_types:
        return kind(value)
    raise NotImplementedError(f"no conversion to {kind}")
