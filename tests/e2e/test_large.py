"""Messages larger than a document may be, or than memory is, pass."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from hashlib import sha256

from ingestd.demo.mailbox import Sample
from tests.e2e.conftest import SECONDS, Site
from tests.footprint import need_pss, sampled

ATTACHMENT_BYTES = 110_000_000  # about 150 MB of base64
PSS_LIMIT = 250 << 20

HEAD = b"""\
From: ann@example.org\r
Subject: large\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="x"\r
\r
--x\r
\r
see the file\r
--x\r
Content-Type: application/octet-stream\r
Content-Transfer-Encoding: base64\r
Content-Disposition: attachment; filename="large.bin"\r
\r
"""


def large() -> bytes:
    body = base64.encodebytes(os.urandom(ATTACHMENT_BYTES)).replace(b"\n", b"\r\n")
    return HEAD + body + b"--x--\r\n"


def long_winded() -> bytes:
    """More headers than anybody sends, and more text than a document of MongoDB holds (16 MiB)."""
    headers = b"".join(b"X-Header-%d: value\r\n" % number for number in range(10_000))
    return b"Subject: long\r\n" + headers + b"\r\n" + b"What is too long for one document is split.\r\n" * 2_300_000


def digest_of_the_stored(site: Site, digest: str) -> str:
    """SHA-256 of what `show --raw` gives for the message of that *digest*."""
    show = shlex.join([sys.executable, "-m", "ingestd", "--config", str(site.config), "show", digest, "--raw"])
    summed = subprocess.run(f"{show} | sha256sum", shell=True, capture_output=True, text=True, timeout=120, check=True)
    return summed.stdout.split()[0]


@need_pss
def test_a_message_of_150_mb_passes_in_bounded_memory(site: Site) -> None:
    content = large()
    digest = sha256(content).hexdigest()
    assert len(content) > 148_000_000
    site.deliver([Sample(content, datetime.now(UTC), ())])
    del content

    process = site.start("once", "--json")
    peak = sampled(process, SECONDS)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    assert '"stored":1' in out
    assert peak.pss < PSS_LIMIT
    assert digest_of_the_stored(site, digest) == digest
    assert list((site.directory / "spool").glob("*.spooled")) == []


def test_a_message_with_more_headers_and_text_than_a_document_holds_is_split(site: Site) -> None:
    content = long_winded()
    digest = sha256(content).hexdigest()
    site.deliver([Sample(content, datetime.now(UTC), ())])

    site.run("once")

    shown = json.loads(site.run("show", digest, "--json").stdout)
    assert shown["subject"] == "long"
    assert "headers" in shown["parse"]["limits"]
    assert shown["text_truncated"]
    assert digest_of_the_stored(site, digest) == digest
