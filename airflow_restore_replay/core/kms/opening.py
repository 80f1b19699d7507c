"""Open the key of a key management service that a cluster file names."""

from __future__ import annotations

from airflow_restore_replay.core.config.encryption_keys import KeySource
from airflow_restore_replay.core.errors import ConfigInvalid
from airflow_restore_replay.core.kms import Access, Kms


def open_kms(source: KeySource, access: Access | None = None) -> Kms:
    """Return the key of a source that is a KMS; nothing is asked yet.

    :param access: from the source's connection; None without Airflow.
    :raises ConfigInvalid: token, address or library are missing.
    """
    if source.vault:
        from airflow_restore_replay.core.kms.vault import Vault

        return Vault.of(source.vault, access or {})
    if source.aws_kms:
        from airflow_restore_replay.core.kms.aws import AwsKms

        return AwsKms(source.aws_kms, access or {})
    raise ConfigInvalid(f"{source} is no key of a KMS.")
