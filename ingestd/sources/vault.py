"""Refresh tokens, kept where every daemon finds them, encrypted under a key that only the operator has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.fernet import Fernet, InvalidToken

from ..errors import Refused


class Shelf(Protocol):
    """Where the ciphertext of an account lies."""

    def read(self) -> bytes | None: ...

    def write(self, new: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class EncryptedVault:
    """A vault on a shelf that others may look at. Without a key it is empty, and keeps nothing beyond this process."""

    account: str
    shelf: Shelf
    key: Callable[[], str] | None = field(default=None, repr=False)

    def read(self) -> str | None:
        """The refresh token that was kept last; raise Refused when it was encrypted under another key."""
        if self.key is None or (kept := self.shelf.read()) is None:
            return None
        try:
            return self._cipher().decrypt(kept).decode()
        except InvalidToken:
            raise Refused(
                f"account {self.account}: its refresh token was encrypted under another key; check daemon.token_key, or"
                f" run: ingestd auth login {self.account}"
            ) from None

    def keep(self, token: str, instead: str | None) -> None:
        """Keep *token*; raise Refused without a key, StoreUnavailable when the shelf is out of reach."""
        if self.key is None:
            raise Refused(
                f"account {self.account}: its server gave a new refresh token, and there is no key to keep it under;"
                " set daemon.token_key (ingestd auth key makes one)"
            )
        self.shelf.write(self._cipher().encrypt(token.encode()))

    def _cipher(self) -> Fernet:
        assert self.key is not None
        try:
            return Fernet(self.key())
        except ValueError as error:
            raise Refused("daemon.token_key: not a key; make one with: ingestd auth key") from error


def new_key() -> str:
    """A key for `EncryptedVault`."""
    return Fernet.generate_key().decode("ascii")
