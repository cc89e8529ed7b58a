"""Signatures of files, in the format of minisign: anyone can check them with a tool of their own.

    minisign -V -P <public key> -m FILE        # wants FILE.minisig beside it

A key signs BLAKE2b-512 of the content with Ed25519 (the `ED` of minisign). Keys are in its format too, without a
password: a secret key is kept like any other secret.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..errors import IngestError, Refused

PURE, PREHASHED, PLAIN, CHECKSUM = b"Ed", b"ED", b"\0\0", b"B2"
UNTRUSTED, TRUSTED = "untrusted comment: ", "trusted comment: "


class NotSigned(IngestError):
    """There is no signature by that key, or the content is not what was signed."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key to sign with."""

    id: bytes
    seed: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        return cls(os.urandom(8), os.urandom(32))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the second line of a secret key of minisign; raise Refused, which does not repeat it."""
        raw = _decoded(text, 158)
        if raw is None or raw[:2] != PURE or raw[4:6] != CHECKSUM:
            raise Refused("not a secret key of minisign; make one with: ingestd anchor --new-key FILE")
        if raw[2:4] != PLAIN:
            raise Refused("this secret key has a password, so nothing can sign with it by itself; make one without")
        key = cls(raw[54:62], raw[62:94])
        if key.public.point != raw[94:126]:  # the checksum is not always there in a key without a password
            raise Refused("this secret key is damaged; make a new one")
        return key

    @property
    def text(self) -> str:
        """The key as minisign writes it, without the comment in the first line."""
        pair = self.seed + self.public.point
        checksum = blake2b(PURE + self.id + pair, digest_size=32).digest()
        return base64.b64encode(PURE + PLAIN + CHECKSUM + bytes(48) + self.id + pair + checksum).decode()

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.id, self._private().public_key().public_bytes_raw())

    def sign(self, content: bytes, trusted_comment: str) -> str:
        """Return the text of the signature file."""
        key = self._private()
        signature = key.sign(blake2b(content).digest())
        both = key.sign(signature + trusted_comment.encode())
        lines = (
            f"{UNTRUSTED}signature of ingestd",
            base64.b64encode(PREHASHED + self.id + signature).decode(),
            f"{TRUSTED}{trusted_comment}",
            base64.b64encode(both).decode(),
        )
        return "".join(f"{line}\n" for line in lines)

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key to check signatures with."""

    id: bytes
    point: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a public key, with or without its comment; raise Refused."""
        raw = _decoded(text.strip().splitlines()[-1] if text.strip() else "", 42)
        if raw is None or raw[:2] != PURE:
            raise Refused("not a public key of minisign, which begins with RW and has 56 characters")
        return cls(raw[2:10], raw[10:])

    @property
    def text(self) -> str:
        return base64.b64encode(PURE + self.id + self.point).decode()

    def check(self, content: bytes, signature_file: str) -> str:
        """Return the trusted comment of a signature of *content* by this key; raise NotSigned."""
        signed, comment, both = _taken_apart(signature_file)
        if signed[2:10] != self.id:
            raise NotSigned("signed with another key")
        said = blake2b(content).digest() if signed[:2] == PREHASHED else content
        key = Ed25519PublicKey.from_public_bytes(self.point)
        try:
            key.verify(signed[10:], said)
            key.verify(both, signed[10:] + comment.encode())
        except InvalidSignature as error:
            raise NotSigned("changed since it was signed") from error
        return comment


def _taken_apart(text: str) -> tuple[bytes, str, bytes]:
    lines = text.splitlines()
    if len(lines) != 4 or not lines[0].startswith(UNTRUSTED) or not lines[2].startswith(TRUSTED):
        raise NotSigned("not a signature of minisign")
    signed, both = _decoded(lines[1], 74), _decoded(lines[3], 64)
    if signed is None or both is None or signed[:2] not in (PURE, PREHASHED):
        raise NotSigned("not a signature of minisign")
    return signed, lines[2].removeprefix(TRUSTED), both


def _decoded(text: str, length: int) -> bytes | None:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == length else None
