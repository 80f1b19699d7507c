"""Address, login and TLS files of a primary, from its Airflow connection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_restore_replay.core.config.sections import Primary
from airflow_restore_replay.core.errors import ConfigInvalid

if TYPE_CHECKING:
    from airflow.sdk import Connection

_FILES = ("ca", "cert", "key")
#: values by which a setting of any driver asks for nothing
_NO = ("", "0", "false", "no", "off", "none", "cert_none")
#: settings of drivers that a CA fulfils, because certificate and host name are then always verified
_FULFILLED_BY_A_CA = frozenset(
    {"check_hostname", "verify_mode", "verify_cert", "verify_identity", "verify_server_cert", "mode", ""}
)
#: settings that contradict TLS files
_OFF = frozenset({"disabled"})
_HINT = (
    'Write into its extra {"ssl": {"ca": "/path/ca.pem"}}, for a client certificate also "cert" and "key".'
)


def resolve_primary(primary: Primary, conn: Connection) -> Primary:
    """Return *primary* with address, login and TLS files of an Airflow ``mysql`` connection, without its password.

    :raises ConfigInvalid: the connection asks for TLS in a way that is not supported.
    """
    files = _tls_files(conn, ca=primary.ssl_ca or "")
    try:
        return msgspec.structs.replace(
            primary,
            connection=None,
            host=conn.host or primary.host,
            port=conn.port or primary.port,
            user=conn.login or primary.user,
            **files,
        )
    except ValueError as exc:
        raise ConfigInvalid(f"Connection {conn.conn_id!r}: {exc}.", hint=_HINT) from exc


def _tls_files(conn: Connection, *, ca: str) -> dict[str, str]:
    """Return the TLS files of a connection, as settings of a primary.

    Each driver names its settings in another way: ``{"ssl": {"ca": …}}``, the same as JSON text, ``ssl_ca``,
    ``ssl-ca``, ``ssl_mode``. A setting that is not understood is refused, because a verification that the connection
    asks for would otherwise be left out.

    :param ca: CA of the cluster file.
    """
    asked = _asked(conn)
    files = {name: str(asked.pop(name)) for name in _FILES if asked.get(name)}
    wanted = {name: value for name, value in asked.items() if not _asks_for_nothing(name, value)}
    supported: frozenset[str] = frozenset()
    if files.get("ca") or ca:
        supported = _FULFILLED_BY_A_CA
    elif not files:
        supported = _OFF
    refused = [
        _written(name, value) for name, value in wanted.items() if _setting(name, value) not in supported
    ]
    if refused:
        missing = "" if supported is _FULFILLED_BY_A_CA else " and no CA"
        raise ConfigInvalid(
            f"Connection {conn.conn_id!r} has {', '.join(refused)}{missing} in its extra; this is not supported.",
            hint=_HINT,
        )
    return {f"ssl_{name}": path for name, path in files.items()}


def _asked(conn: Connection) -> dict[str, Any]:
    """Return the TLS settings of all notations, by their name without ``ssl_``; ``""`` is for ``ssl`` itself."""
    found: dict[str, Any] = {}
    for key, value in conn.extra_dejson.items():
        name = key.lower().replace("-", "_")
        if name.startswith("tls"):
            found[name] = value
        if name != "ssl" and not name.startswith("ssl_"):
            continue
        inner = _decoded(value) if name == "ssl" else value
        if isinstance(inner, dict):
            found |= {_short(inside): held for inside, held in inner.items()}
        else:
            found[_short(name)] = inner
    return found


def _short(key: str) -> str:
    return key.lower().replace("-", "_").removeprefix("ssl").removeprefix("_")


def _decoded(value: Any) -> Any:
    """Return the content of a field that a connection's URL can hold as JSON text only."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _asks_for_nothing(name: str, value: Any) -> bool:
    return not value or str(value).lower() in _NO or (name == "mode" and str(value).lower() == "preferred")


def _setting(name: str, value: Any) -> str:
    """Return the setting's name; the mode that switches TLS off counts as the setting that does the same."""
    return "disabled" if name == "mode" and str(value).lower() == "disabled" else name


def _written(name: str, value: Any) -> str:
    key = name if name.startswith("tls") else f"ssl_{name}" if name else "ssl"
    return f"{key} {value!r}"
