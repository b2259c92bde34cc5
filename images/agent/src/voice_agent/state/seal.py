"""Snapshots are sealed in the call's process: keepers and Redis only ever hold what they cannot read."""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class SealError(Exception):
    """Sealed bytes cannot be opened, or a key is none; the text holds neither key nor content."""


class Seal:
    """Encrypts and authenticates snapshots.

    To rotate: put the new key last and let every pod start with it, so that each can open what another seals with it;
    then put it first; and when the calls that began before are over, or after the store's TTL, leave the old one out.

    Args:
        keys: base64 of 32 bytes each, as `Fernet.generate_key` makes them. The first seals, each opens.

    Raises:
        SealError: there is no key, or one is malformed.
    """

    def __init__(self, keys: list[str]) -> None:
        if not keys:
            raise SealError("no key")
        fernets = []
        for position, key in enumerate(keys, start=1):
            try:
                fernets.append(Fernet(key))
            except ValueError as error:
                raise SealError(f"key {position} of {len(keys)} is not 32 bytes in URL-safe base64") from error
        self._fernet = MultiFernet(fernets)

    def seal(self, call: str, data: bytes) -> bytes:
        """`data` encrypted, and bound to `call`."""
        return self._fernet.encrypt(_prefix(call) + data)

    def open(self, call: str, sealed: bytes) -> bytes:
        """What `seal` sealed for the same call.

        Raises:
            SealError: it was sealed with another key or for another call, or changed since.
        """
        try:
            data = self._fernet.decrypt(sealed)
        except InvalidToken as error:
            raise SealError("sealed with a key that is not set, or damaged") from error
        prefix = _prefix(call)
        if not data.startswith(prefix):
            raise SealError("sealed for another call")
        return data[len(prefix) :]


def _prefix(call: str) -> bytes:
    # Fernet authenticates no context of its own: without this, whoever can write to the store swaps two calls.
    name = call.encode()
    return len(name).to_bytes(4) + name
