"""Put a parsed message together again: what the store does with segments and blobs, done in memory."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256

from ingestd.message import Message
from ingestd.mime.transfer import decoded, encoded
from ingestd.raw import Raw

CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


def blobs(raw: Raw, message: Message) -> dict[str, bytes]:
    """The content of every blob, decoded from the raw message as the store would."""
    return {blob.sha256: b"".join(decoded(raw, blob.span)) for blob in message.blobs}


def rebuilt(raw: Raw, message: Message) -> bytes:
    """The raw message, from its segments."""
    contents = blobs(raw, message)
    at, whole = 0, []
    for segment in message.segments:
        assert segment.start == at < segment.end, "segments are contiguous and none is empty"
        at = segment.end
        if segment.sha256 is None:
            whole.append(raw.read(segment.start, segment.end))
        elif segment.encoding == "base64":
            whole.append(b"".join(encoded([contents[segment.sha256]], segment.line_length, segment.line_end)))
        else:
            whole.append(contents[segment.sha256])
    assert at == raw.size_bytes, "segments cover the message"
    return b"".join(whole)


def check(raw: Raw, message: Message) -> None:
    """Assert what holds for every message, however broken."""
    assert rebuilt(raw, message) == raw.read(0, raw.size_bytes)
    contents = blobs(raw, message)
    digests = [blob.sha256 for blob in message.blobs]
    assert digests == sorted(set(digests))
    for blob in message.blobs:
        assert sha256(contents[blob.sha256]).hexdigest() == blob.sha256
        assert len(contents[blob.sha256]) == blob.size_bytes
    needed = {segment.sha256 for segment in message.segments if segment.sha256} | {message.text_blob} - {None}
    every = [a for holder in (message, *message.embedded) for a in holder.attachments]
    needed |= {attachment.sha256 for attachment in every if not attachment.in_raw}
    assert needed == set(digests)
    for attachment in every:
        if attachment.in_raw:
            content = raw.read(attachment.span.start, attachment.span.end)
            assert sha256(content).hexdigest() == attachment.sha256
            assert len(content) == attachment.size_bytes
    for text in strings(message):
        text.encode()
        assert unicodedata.is_normalized("NFC", text)
        assert not CONTROLS.search(text)


def strings(value: object) -> list[str]:
    """Every str within a value of the vocabulary."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple | list):
        return [text for item in value for text in strings(item)]
    names = getattr(value, "__dataclass_fields__", ())
    return [text for name in names for text in strings(getattr(value, name))]
