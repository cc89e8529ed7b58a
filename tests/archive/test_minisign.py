"""Signatures that others can check: made here and by minisign itself, and found out when anything was changed."""

from __future__ import annotations

import pytest

from ingestd.archive.minisign import NotSigned, PublicKey, SecretKey
from ingestd.errors import Refused

# Made by minisign 0.11: a key without a password, and its signature of CONTENT.
PUBLIC = "RWQdlx3HO5ibZR8tgVmlS+6fSifQ5cY8TOXg0ve2MZiPEmSd8vWKH+6G"
SECRET = (
    "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAHZcdxzuYm2V1+j+Z3Aa7XbBndZQV5r9kGkou/RjjBcyY"
    "4eK2NdUTXR8tgVmlS+6fSifQ5cY8TOXg0ve2MZiPEmSd8vWKH+6GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)
CONTENT = b'{"an":"anchor"}\n'
SIGNATURE = """\
untrusted comment: signature from minisign secret key
RUQdlx3HO5ibZallloKLzbbaNrx7OTSozLxTFC3G0Dz5LLeEd21pLTu+PheTeTDjGhL4QKY3VUh/qSdtGqDhJ61NNvXFxbH75gw=
trusted comment: trusted words
/6EuHh1tBoWUpNlXMMal5q6of4N09MIC2k5PA+2xLnpZUQUKBgb6+rho59xB/9ecqRiizn3+E1oSCwRPcMk0Aw==
"""


def test_a_signature_of_minisign_is_believed() -> None:
    assert PublicKey.parse(PUBLIC).check(CONTENT, SIGNATURE) == "trusted words"


def test_a_key_of_minisign_signs_as_minisign_does() -> None:
    # Ed25519 has no chance in it: the same key, content and comment give the same signature.
    assert SecretKey.parse(SECRET).sign(CONTENT, "trusted words").splitlines()[1:] == SIGNATURE.splitlines()[1:]


def test_a_new_key_is_read_back_and_only_its_own_public_key_believes_it() -> None:
    key, other = SecretKey.new(), SecretKey.new()
    signature = SecretKey.parse(key.text).sign(CONTENT, "now")

    public = PublicKey.parse(f"untrusted comment: minisign public key\n{key.public.text}\n")

    assert public.check(CONTENT, signature) == "now"
    with pytest.raises(NotSigned, match="another key"):
        other.public.check(CONTENT, signature)


@pytest.mark.parametrize(
    ("content", "old", "new", "why"),
    [
        (CONTENT + b" ", "", "", "changed since"),
        (CONTENT, "trusted words", "other words", "changed since"),
        (CONTENT, "/6EuHh1t", "/6EuHh1u", "changed since"),
        (CONTENT, "ZallloKL", "ZallloKM", "changed since"),
        (CONTENT, "RUQdlx3H", "RUQdlx3I", "another key"),
        (CONTENT, "untrusted comment", "comment", "not a signature"),
        (CONTENT, "RUQd", "RU!d", "not a signature"),
        (CONTENT, SIGNATURE, "", "not a signature"),
    ],
)
def test_whatever_is_changed_is_found_out(content: bytes, old: str, new: str, why: str) -> None:
    with pytest.raises(NotSigned, match=why):
        PublicKey.parse(PUBLIC).check(content, SIGNATURE.replace(old, new) if old else SIGNATURE)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a secret key"),
        ("correct horse battery staple", "not a secret key"),
        (PUBLIC, "not a secret key"),
        (SECRET.replace("RWQAAEIy", "RWRTY0Iy"), "has a password"),
        (SECRET.replace("HZcdxzuYm2V1", "HZcdxzuYm2V2"), "damaged"),
    ],
)
def test_a_secret_key_that_cannot_be_used_is_refused_without_being_shown(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        SecretKey.parse(text)

    assert not text or text not in str(refused.value)
    assert SecretKey.parse(SECRET).seed.hex() not in repr(SecretKey.parse(SECRET))


@pytest.mark.parametrize("text", ["", "\n", SECRET, "RWQdlx3H"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="not a public key"):
        PublicKey.parse(text)
