"""Stored messages written to files, as they are or anonymised, for whoever looks into how they are read.

A file is for its owner alone, and never takes the place of another one. What cannot be written whole is not there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pymongo.database import Database

from ..errors import IngestError
from ..message import Message
from ..mime.anonymise.likeness import differences
from ..mime.anonymise.mask import Mask
from ..mime.anonymise.message import anonymised
from ..raw import InMemory, Raw
from . import rebuild

Document = dict[str, Any]
Parse = Callable[[Raw], Message]

ANONYMISED_BYTES = 32 << 20  # of a message that is anonymised, which is held in memory many times over
KEY_BYTES = 32
_NAME = 16  # characters of the digest in the name of a file


class Unwritten(IngestError):
    """There is no such file now; its text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A message in a file."""

    message: str
    file: Path
    size_bytes: int
    differences: tuple[str, ...] = ()  # of an anonymised one: in what it parses otherwise


def write(database: Database[Document], message: Document, directory: Path) -> Sample:
    """Write *message* (its `messages` document) as it is; raise Damaged or Unwritten."""
    file = directory / f"{message['sha256'][:_NAME]}.eml"
    _write(file, rebuild.original(database, message))
    return Sample(message["_id"], file, int(message["size_bytes"]))


@dataclass(frozen=True, slots=True)
class Anonymise:
    """The task of writing a message anonymised, under *key*. Raises Damaged or Unwritten."""

    message: Document  # its `_id`, `sha256` and `size_bytes`
    directory: Path
    key: bytes

    def __call__(self, database: Database[Document], parse: Parse, step: Callable[[str], None]) -> Sample:
        if self.message["size_bytes"] > ANONYMISED_BYTES:
            raise Unwritten(
                f"message {self.message['_id']}: over {ANONYMISED_BYTES >> 20} MiB, too large to be anonymised;"
                " export it as it is, and cut it down to what is odd about it"
            )
        data = b"".join(rebuild.original(database, self.message))
        made = anonymised(data, Mask(self.key))
        # Named by its own bytes: those of the original would tell which message it is to whoever has that.
        file = self.directory / f"{sha256(made).hexdigest()[:_NAME]}.eml"
        lost = differences(parse(InMemory(data)), parse(InMemory(made)))
        _write(file, [made])
        return Sample(self.message["_id"], file, len(made), lost)


def _write(file: Path, pieces: Iterable[bytes]) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Unwritten(f"{file}: there is one already; remove it, or name another directory") from error
    except OSError as error:
        raise Unwritten(f"{file}: {error.strerror}; name another directory") from error
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.writelines(pieces)
    except OSError as error:
        file.unlink(missing_ok=True)
        raise Unwritten(f"{file}: {error.strerror}; name another directory") from error
    except BaseException:
        file.unlink(missing_ok=True)
        raise
