from __future__ import annotations

import pytest

from airflow_restore_replay.core.errors import ConfigInvalid, ReleaseRefused
from airflow_restore_replay.core.flavor.mariadb.identity import refuse_release, release_of
from airflow_restore_replay.core.flavor.registry import get_flavor


@pytest.mark.parametrize(
    ("backup", "node", "primary"),
    [
        ("10.11.2", "10.11.19", "10.11.6"),
        (None, "10.11.19", "11.4.2"),
        ("10.5.23", "10.11.19", "11.8.0"),
        ("10.11.19", "10.11.2", "10.11.19"),
    ],
)
def test_series_in_order_are_accepted(backup: str | None, node: str, primary: str) -> None:
    refuse_release(backup=backup, node=node, primary=primary)


@pytest.mark.parametrize(
    ("backup", "node", "primary", "said"),
    [
        ("11.4.1", "10.11.19", "11.4.1", "older than the backup"),
        ("10.6.1", "11.4.1", "10.11.6", "newer than the primary"),
        (None, "11.4.1", "10.11.6", "newer than the primary"),
    ],
)
def test_series_out_of_order_are_refused(backup: str | None, node: str, primary: str, said: str) -> None:
    with pytest.raises(ReleaseRefused, match=said):
        refuse_release(backup=backup, node=node, primary=primary)


@pytest.mark.parametrize("version", ["10.11.19-MariaDB-0+deb12u1-log", "5.5.5-10.11.19-MariaDB", "10.11.19"])
def test_release_of_a_version_string(version: str) -> None:
    assert release_of(version) == "10.11.19"


def test_unknown_flavors_are_refused() -> None:
    assert get_flavor("mariadb").name == "mariadb"
    with pytest.raises(ConfigInvalid, match="mariadb"):
        get_flavor("postgres")
