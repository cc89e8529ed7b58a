"""The anchors that were kept, as files: which of them can be believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from ..archive.finding import Finding
from ..errors import IngestError, Refused

if TYPE_CHECKING:
    from ..archive.anchors import Anchor
    from ..archive.minisign import PublicKey

ENDING = ".jsonl"
SIZE_LIMIT = 16 << 20  # bytes of a file that is read; an anchor has about 200


@dataclass(frozen=True, slots=True)
class Kept:
    """The anchors that were kept, and what is wrong with their signatures."""

    anchors: tuple[Anchor, ...]
    findings: tuple[Finding, ...]


def kept(paths: Sequence[Path], public_key: str | None) -> Kept:
    """Read the anchors in *paths*, of which each file must be signed if there is a *public_key*; raise Refused."""
    from ..archive.anchors import read

    if public_key is not None and not paths:
        raise Refused("--public-key: only with --anchor")
    key = None if public_key is None else _public_key(public_key)
    anchors: list[Anchor] = []
    findings: list[Finding] = []
    for path in (file for named in paths for file in _files(named)):
        content = _content(path)
        if key is not None and (doubt := _unsigned(path, content, key)):
            findings.append(doubt)
        else:
            anchors += read(content, path)
    return Kept(tuple(anchors), tuple(findings))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = sorted(path.glob(f"*{ENDING}"))
    if not found:
        raise Refused(f"{path}: no file there ends in {ENDING}; name the anchors, or where they are")
    yield from found


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; name a file that `ingestd anchor` wrote") from error
    if len(content) > SIZE_LIMIT:
        raise Refused(f"{path}: too large for anchors; name a file that `ingestd anchor` wrote")
    return content


def _unsigned(path: Path, content: bytes, key: PublicKey) -> Finding | None:
    """Why a file cannot be believed, if so."""
    try:
        signature = signature_of(path).read_text(errors="replace")
        key.check(content, signature)
    except OSError:
        return Finding("anchor_unsigned", str(path), "there is no signature beside it")
    except IngestError as error:
        return Finding("anchor_unsigned", str(path), str(error))
    return None


def signature_of(path: Path) -> Path:
    """Where the signature of a file lies, as minisign has it."""
    return path.with_name(f"{path.name}.minisig")


def _public_key(text: str) -> PublicKey:
    """*text* is the key, or names the file that holds it."""
    path = Path(text)
    found = path.read_text(errors="replace") if path.is_file() and path.stat().st_size < 4096 else text
    return cast("PublicKey", minisign().PublicKey.parse(found))


def minisign() -> ModuleType:
    """The module for keys and signatures; raise Refused where what it needs is not installed."""
    try:
        from ..archive import minisign
    except ImportError as error:
        raise Refused("signatures need the package cryptography: pip install 'ingestd[sign]'") from error
    return minisign
