"""The tables of variables, asked of real servers; what options follow from a primary's values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_restore_replay.core.errors import NotReplayable
from airflow_restore_replay.core.flavor.findings import Severity
from airflow_restore_replay.core.flavor.mariadb.variables import VARIABLES
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.sql import value
from airflow_restore_replay.core.flavor.variables import Treatment, zone_of_system
from airflow_restore_replay.core.flavor.zones import system_zone
from tests.contract.flavor.conftest import layout_at
from tests.support.findings import examined
from tests.support.flavors import KITS
from tests.support.mariadb import MariaDbPrimary
from tests.support.primary import Primary
from tests.support.unpacked import without


@pytest.mark.parametrize("kit", KITS)
def test_each_variable_of_a_server_has_a_class(kit: str, tmp_path: Path) -> None:
    if without(kit):
        pytest.skip(f"RR_WITHOUT={kit}")
    primary = KITS[kit].primary.start(tmp_path / "primary")
    try:
        names = [str(name) for name, _ in primary.execute("SHOW GLOBAL VARIABLES")]
    finally:
        primary.discard()
    treatment = get_flavor(primary.flavor).variables.treatment
    assert [name for name in names if treatment(name) is None] == []
    assert treatment("lower_case_table_names") is Treatment.PRIMARYS
    assert treatment("innodb_strict_mode") is Treatment.OURS
    assert treatment("ft_stopword_file") is Treatment.REFUSED
    assert treatment("sort_buffer_size") is Treatment.IRRELEVANT


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDbPrimary]:
    """A primary with settings that a node cannot have, in a zone with two names."""
    root = tmp_path_factory.mktemp("variables")
    (root / "words").write_text("these\nwords\n")
    started = MariaDbPrimary.start(
        root / "primary",
        options=[f"--ft-stopword-file={root / 'words'}", "--enforce-storage-engine=InnoDB"],
        environment={"TZ": "US/Eastern"},
    )
    started.create_backup_account()
    yield started
    started.discard()


def test_a_value_that_no_node_can_have_is_a_warning_with_its_fix(primary: Primary) -> None:
    flavor = get_flavor("mariadb")
    with flavor.connect(primary.endpoint("restore_replay")) as conn:
        found = examined(flavor, conn, seed="logical")
    names = ("ft_stopword_file", "enforce_storage_engine")
    assert {found[name].severity for name in names} == {Severity.WARNING}
    assert "REPAIR TABLE" in found["ft_stopword_file"].fix
    assert found["enforce_storage_engine"].observed == "InnoDB"


def test_the_system_zone_of_a_primary_is_found_by_its_clocks(primary: Primary) -> None:
    with get_flavor("mariadb").connect(primary.endpoint("restore_replay")) as conn:
        assert system_zone(conn) == "America/New_York"
        assert value(conn, "SELECT @@session.time_zone") == "+00:00"


def test_a_zone_that_no_host_has_is_a_warning(tmp_path: Path) -> None:
    primary = MariaDbPrimary.start(tmp_path / "primary", environment={"TZ": "ODD-3:07"})
    primary.create_backup_account()
    try:
        flavor = get_flavor("mariadb")
        with flavor.connect(primary.endpoint("restore_replay")) as conn:
            assert "system_time_zone" not in flavor.variables.read(conn)
            found = examined(flavor, conn, seed="logical")["system_time_zone"]
    finally:
        primary.discard()
    assert (found.severity, found.observed) == (Severity.WARNING, "ODD")


def test_a_fixed_time_zone_is_an_option_and_a_named_one_is_not() -> None:
    assert VARIABLES.options({"time_zone": "+05:00"}, []) == ["--loose-default-time-zone=+05:00"]
    assert VARIABLES.options({"time_zone": "Europe/Berlin", "system_time_zone": "UTC"}, []) == []
    text = VARIABLES.option_file({"time_zone": "Europe/Berlin", "system_time_zone": "UTC"}, server="mariadbd")
    assert 'loose_default_time_zone="Europe/Berlin"' in text
    assert "timezone=UTC" in text


def test_a_default_engine_that_the_node_lacks_is_no_option() -> None:
    values = {"default_storage_engine": "ARCHIVE", "plugin_load_add": "ha_archive"}
    assert VARIABLES.options(values, ["ha_archive"]) == [
        "--loose-default-storage-engine=ARCHIVE",
        "--loose-plugin-load-add=ha_archive.so",
    ]
    assert VARIABLES.options(values, []) == []


def test_no_value_leads_out_of_the_data_directory_or_into_another_line() -> None:
    values = {"innodb_data_file_path": "/etc/x:10M", "old_mode": "a\nplugin_load_add=evil"}
    assert VARIABLES.options(values, []) == VARIABLES.birth_options(values) == []
    assert "evil" not in VARIABLES.option_file(values, server="mariadbd")


#: variables of a manifest that somebody wrote who can only create objects
FORGED = {
    "plugin_dir": "/var/lib/mysql/evil",
    "init_file": "/var/lib/mysql/evil.sql",
    "old_mode\n[mysqld_safe]\nledir": "evil",
    "plugin_load_add": "../evil,ha_archive",
    "time_zone": "UTC\nplugin_load_add=evil",
    "system_time_zone": "UTC\nmalloc-lib=evil.so",
}


def test_x47_a_manifest_names_no_options_of_its_own() -> None:
    assert VARIABLES.options(FORGED, ["ha_archive", "../evil"]) == ["--loose-plugin-load-add=ha_archive.so"]
    assert "evil" not in VARIABLES.option_file(FORGED, server="mariadbd")


@pytest.mark.parametrize("zone", ["UTC\nmalloc-lib=evil.so", "/etc/evil", "../evil", ":evil", "a\0b"])
def test_x47_a_zone_is_the_name_of_a_zone(zone: str) -> None:
    assert zone_of_system({"system_time_zone": zone}) == ""
    assert zone_of_system({"system_time_zone": "America/Port-au-Prince"}) == "America/Port-au-Prince"


def test_a_base_keeps_what_describes_its_files_and_takes_the_rest_of_the_primary() -> None:
    base = {"innodb_data_file_path": "ibdata1:12M:autoextend", "old_mode": "", "lower_case_table_names": "0"}
    now = {"innodb_data_file_path": "a:1G;b:1G", "old_mode": "UTF8_IS_UTF8MB3", "lower_case_table_names": "0"}
    assert VARIABLES.continued(base, now) == now | {"innodb_data_file_path": "ibdata1:12M:autoextend"}
    assert VARIABLES.continued(base, {}) == base
    assert "innodb_data_file_path" not in VARIABLES.of_rows(now)


@pytest.mark.parametrize("base", [{}, {"lower_case_table_names": "0"}])
def test_a_base_whose_names_are_stored_otherwise_cannot_be_continued(base: dict[str, str]) -> None:
    with pytest.raises(NotReplayable, match="lower_case_table_names=1"):
        VARIABLES.continued(base, {"lower_case_table_names": "1"})


def test_a_node_lacks_the_plugins_that_are_not_installed(tmp_path: Path) -> None:
    server = get_flavor("mariadb").server(layout_at(tmp_path))
    assert server.lacking({"plugin_load_add": "auth_ed25519,auth_of_tomorrow"}) == ["auth_of_tomorrow"]
    assert server.lacking({}) == []
