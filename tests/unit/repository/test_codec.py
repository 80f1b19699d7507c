"""What stored bytes are under a key, and that nothing but the right key and name opens them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_restore_replay.core.repository.format.codec import Codec, CodecError
from airflow_restore_replay.core.repository.format.keyring import Key, derive
from tests.support.keys import NEW, OLD

PLAIN, KEYED, OTHER = Codec(), Codec(key=Key.of(OLD)), Codec(key=Key.of(NEW))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=70_000))
def test_round_trip_and_bound(data: bytes) -> None:
    name = KEYED.name(data)
    one, two = KEYED.encode(data, name), KEYED.encode(data, name)
    assert one != two, "a nonce is used once"
    assert max(len(one), len(two)) <= KEYED.bound(len(data))
    assert KEYED.decode(one, name, size_bytes=len(data)) == data
    assert KEYED.decode_up_to(two, name, max_bytes=len(data)) == data
    assert len({name, OTHER.name(data), PLAIN.name(data)}) == 3


def _flip(index: int) -> Callable[[bytes], bytes]:
    def harm(stored: bytes) -> bytes:
        changed = bytearray(stored)
        changed[index] ^= 1
        return bytes(changed)

    return harm


@pytest.mark.parametrize(
    ("harm", "observed"),
    [
        (_flip(0), "not what was encrypted"),
        (_flip(12), "not what was encrypted"),
        (_flip(-1), "not what was encrypted"),
        (lambda s: s[:-1], "not what was encrypted"),
        (lambda s: s + b"\0", "not what was encrypted"),
        (lambda s: s[:27], "fewer than anything"),
        (lambda s: b"", "fewer than anything"),
        (lambda s: PLAIN.encode(os.urandom(400), ""), "not what was encrypted"),
    ],
)
def test_changed_bytes_do_not_decode(harm: Callable[[bytes], bytes], observed: str) -> None:
    data = b"data" * 100
    name = KEYED.name(data)
    with pytest.raises(CodecError, match=observed):
        KEYED.decode(harm(KEYED.encode(data, name)), name, size_bytes=len(data))


def test_bytes_belong_to_their_name_and_key() -> None:
    data = os.urandom(5000)
    name = KEYED.name(data)
    stored = KEYED.encode(data, name)
    with pytest.raises(CodecError, match="under that name"):
        KEYED.decode(stored, KEYED.name(b"other"), size_bytes=len(data))
    with pytest.raises(CodecError, match=f"key {OTHER.key_id}"):
        OTHER.decode(stored, name, size_bytes=len(data))
    with pytest.raises(CodecError, match="does not decompress"):
        PLAIN.decode(stored, name, size_bytes=len(data))
    # A key holder's mistake: right seal, other content.
    with pytest.raises(CodecError, match="content hashes to"):
        KEYED.decode(KEYED.encode(b"x" * 5000, name), name, size_bytes=5000)


def test_x46_each_encryption_has_a_key_of_its_own() -> None:
    """Pieces of bundles are encryptions, too: with one key, the limit of GCM would come long before 16 PB."""
    key, data = Key.of(OLD), b"piece of a bundle" * 9
    name = KEYED.name(data)
    salts = set()
    for _ in range(100):
        stored = KEYED.encode(data, name)
        assert stored[:4] == b"RRE2"
        salt, sealed = stored[4:28], stored[28:]
        own = AESGCM(blake3(salt, key=key.contents).digest())
        assert zstandard.decompress(own.decrypt(bytes(12), sealed, name.encode())) == data
        salts.add(salt)
    assert len(salts) == 100


def test_what_format_1_encrypted_stays_readable() -> None:
    data, nonce = b"old" * 99, b"RRE2" + os.urandom(8)
    name = KEYED.name(data)
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    stored = nonce + AESGCM(Key.of(OLD).data).encrypt(nonce, frame, name.encode())
    assert KEYED.decode(stored, name, size_bytes=len(data)) == data


def test_sub_keys_never_change() -> None:
    """Every repository there is would become unreadable."""
    key = Key.of(OLD)
    assert key.key_id == "371ee8bbdde958cd"
    assert key.names.hex() == "ff83ff404690fdd4bf4b53682e8bbbdf45c4adf1f2550d6b60f9dacac24b21ef"
    assert key.contents.hex() == "f3a0b55b543135563ed6cf5e1cd87f2029aecd8255193b98e831e7ee7bc3cd75"
    assert len({key.names, key.data, key.contents, key.records, bytes.fromhex(OLD)}) == 5
    assert KEYED.name(b"data") == "2622907993b8c8d921cc0f21d817da0f6be47f688980bbc75db83bb7cc24ab02"


def test_sub_keys_are_what_b3sum_derives() -> None:
    if not shutil.which("b3sum"):
        pytest.skip("b3sum is not installed: derived keys are NOT TESTED against it")
    for version, purpose in ((1, "names"), (1, "data"), (1, "records"), (1, "key id"), (2, "contents")):
        done = subprocess.run(
            ["b3sum", "--no-names", "--derive-key", f"airflow-restore-replay format {version} {purpose}"],
            input=bytes.fromhex(OLD),
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode().strip() == derive(bytes.fromhex(OLD), purpose, version=version).hex()


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400_000) | st.integers(1, 400_000).map(bytes), st.integers(-20, 20))
def test_a_frame_is_neither_cut_off_nor_followed_by_anything(data: bytes, by: int) -> None:
    name = PLAIN.name(data)
    stored = PLAIN.encode(data, name)
    assert PLAIN.decode(stored, name, size_bytes=len(data)) == data
    if by:
        with pytest.raises(CodecError):
            PLAIN.decode(stored[:by] if by < 0 else stored + bytes(by), name, size_bytes=len(data))
