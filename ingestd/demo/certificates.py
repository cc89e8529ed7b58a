"""An authority of one's own, and certificates that it signs, good ones and bad ones."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Literal

from ..errors import Refused
from .programs import path_of

Certificate = Literal["good", "expired", "other-host"]


def make_certificates(directory: Path, kind: Certificate = "good") -> None:
    """Write an authority (`ca.pem`) and a server's certificate of that *kind* (`server.pem`, `server.key`)."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = "DNS:elsewhere.example.org" if kind == "other-host" else "DNS:localhost,IP:127.0.0.1"
    # Python 3.13 and newer refuse an authority without keyUsage, and want to know which key signed.
    (directory / "server.ext").write_text(
        f"subjectAltName={names}\nbasicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    usage = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    days = "-1" if kind == "expired" else "3650"
    _openssl(directory, "req -x509 -days 3650 -keyout ca.key -out ca.pem -subj /CN=ingestd-private", *key, *usage)
    _openssl(directory, "req -keyout server.key -out server.csr -subj /CN=localhost", *key)
    signed = "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -extfile server.ext"
    _openssl(directory, signed, "-days", days)


def _openssl(directory: Path, command: str, *more: str) -> None:
    program = [path_of("openssl"), *command.split(), *more]
    done = subprocess.run(program, cwd=directory, capture_output=True, timeout=60, check=False)  # noqa: S603 - no shell
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Refused(f"private mail server: openssl failed: {said[-1] if said else done.returncode}")
