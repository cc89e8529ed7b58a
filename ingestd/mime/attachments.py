"""An attachment: its names, what it is, and where its content lies. The content itself is only hashed here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypedDict

from ..message import Attachment, Span
from ..raw import Raw
from .clean import limited, one_line
from .enclosed import BINHEX, Enclosed
from .layout import Layout, layout
from .parts import EMBEDDING, Part
from .transfer import digest

FILENAME = 500  # characters
SAFE_BYTES = 200
_UNSAFE = re.compile('[\x00-\x1f\x7f-\x9f<>:"/\\\\|?*\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffd]+')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,10}")

_EXTENSIONS = {
    "application/gzip": "gz",
    "application/ics": "ics",
    "application/json": "json",
    "application/mac-binhex40": "hqx",
    "application/msword": "doc",
    "application/ms-tnef": "dat",
    "application/pdf": "pdf",
    "application/pgp-encrypted": "asc",
    "application/pgp-keys": "asc",
    "application/pgp-signature": "asc",
    "application/pkcs7-mime": "p7m",
    "application/pkcs7-signature": "p7s",
    "application/postscript": "ps",
    "application/rtf": "rtf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/x-gzip": "gz",
    "application/x-pkcs7-mime": "p7m",
    "application/x-pkcs7-signature": "p7s",
    "application/x-zip-compressed": "zip",
    "application/xml": "xml",
    "application/zip": "zip",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/jpeg": "jpg",
    "image/jpg": "jpg",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tif",
    "image/webp": "webp",
    "message/delivery-status": "txt",
    "message/disposition-notification": "txt",
    "message/global": "eml",
    "message/partial": "eml",
    "message/rfc822": "eml",
    "text/calendar": "ics",
    "text/csv": "csv",
    "text/directory": "vcf",
    "text/html": "html",
    "text/rtf": "rtf",
    "text/vcard": "vcf",
    "text/x-vcard": "vcf",
    "text/xml": "xml",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
}
_FAMILIES = {"text": "txt", "multipart": "txt", "message": "eml"}
_KINDS = {
    "sheet": "xls xlsx xlsm xlsb ods csv tsv numbers",
    "slides": "ppt pptx pptm pps ppsx odp key",
    "document": "pdf doc docx docm dot dotx odt rtf pages ps eps epub",
    "archive": "zip gz tgz bz2 xz 7z rar tar zst lz lzma sit hqx",
    "calendar": "ics vcs ical",
    "message": "eml msg",
    "image": "jpg jpeg png gif bmp tif tiff webp svg heic heif ico",
    "audio": "mp3 wav ogg m4a aac flac wma amr opus",
    "video": "mp4 mov avi mkv wmv mpg mpeg webm 3gp m4v",
    "text": "txt log md htm html xml json yaml yml vcf",
}
_KIND_OF = {extension: kind for kind, extensions in _KINDS.items() for extension in extensions.split()}
EXTENSIONS = frozenset(_KIND_OF) | frozenset(_EXTENSIONS.values())  # that say what a file is, and nothing else


@dataclass(frozen=True, slots=True)
class Found:
    """An attachment, and how its base64 is laid out where the raw message can refer to its content."""

    attachment: Attachment
    layout: Layout | None = None
    enclosed: Enclosed | None = None  # what it is, where it lies in the content of a part


def attachment(raw: Raw, part: Part, *, inline: bool) -> Found:
    """Describe *part*; reads its body once or twice, in pieces."""
    span = part.span(raw)
    laid_out = layout(raw, part.body, part.end) if span.encoding == "base64" else None
    sha256, size_bytes = (laid_out.sha256, laid_out.size_bytes) if laid_out else digest(raw, span)
    described = Attachment(
        part=part.number,
        **_named(part.number, part.filename, part.content_type),
        disposition=part.disposition.main[:FILENAME] or None,
        content_id=one_line(part.content_id or "")[:FILENAME] or None,
        inline=inline,
        size_bytes=size_bytes,
        sha256=sha256,
        span=span,
        in_raw=part.content_type in EMBEDDING and span.encoding == "identity",
    )
    return Found(described, laid_out)


def derived(raw: Raw, holder: str, number: str, file: Enclosed, span: Span) -> Found:
    """Describe *file*, which lies within the part *holder* and whose content is that of *span*."""
    sha256, size_bytes = digest(raw, span)
    described = Attachment(
        part=number,
        **_named(number, file.name, file.content_type),
        disposition=None,
        content_id=one_line(file.content_id or "")[:FILENAME] or None,
        inline=False,
        size_bytes=size_bytes,
        sha256=sha256,
        span=span,
        in_raw=False,
        derived_from=holder,
    )
    return Found(described, enclosed=file)


class _Named(TypedDict):
    filename: str | None
    filename_safe: str
    extension: str
    content_type: str
    kind: str


def _named(number: str, filename: str | None, content_type: str) -> _Named:
    name = one_line(filename or "")[:FILENAME] or None
    safe = safe_name(name or "") or f"part-{number}.{_extension_for(content_type)}"
    extension = _extension_of(safe)
    return _Named(
        filename=name,
        filename_safe=safe,
        extension=extension,
        content_type=content_type[:FILENAME],
        kind=kind(content_type, extension),
    )


def safe_name(name: str) -> str:
    """*name* as any file system takes it, without a path; "" when nothing is left of it."""
    name = _UNSAFE.sub("_", name.replace("\\", "/").rpartition("/")[2]).strip(" ._")
    if _RESERVED.match(name):
        name = f"_{name}"
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > 20:
        return limited(name, SAFE_BYTES).rstrip(" .")
    return limited(stem, SAFE_BYTES - len(extension) * 4 - 1).rstrip(" .") + dot + extension


def kind(content_type: str, extension: str) -> str:
    """What a person would call it, e.g. "sheet". The extension knows better than the type where both speak."""
    family = content_type.partition("/")[0]
    if content_type in ("text/calendar", "application/ics"):
        return "calendar"
    if content_type == BINHEX:
        return "archive"  # whatever it is in there
    if family in ("message", "image", "audio", "video"):
        return family
    return _KIND_OF.get(extension) or _KIND_OF.get(_extension_for(content_type)) or "other"


def _extension_for(content_type: str) -> str:
    family = content_type.partition("/")[0]
    return _EXTENSIONS.get(content_type) or _FAMILIES.get(family, "bin")


def _extension_of(name: str) -> str:
    extension = name.rpartition(".")[2] if "." in name else ""
    return extension.lower() if _EXTENSION.fullmatch(extension) else ""
