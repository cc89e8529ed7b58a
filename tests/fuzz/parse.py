"""Let coverage lead random mail through the parser: `make fuzz`, or `python -m tests.fuzz.parse [libFuzzer options]`.

Begins with the hard messages, those of Python's own test suite and some with files within their parts, and knows the
words of mail. It stops at the first message that breaks what holds for every message (`tests.mime.mutations.hold`), and
writes it to a file that a test can be made of.

Needs atheris, which `make fuzz` installs; runs until the time is up, e.g. `-max_total_time=3600`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]  # in no environment but the one for this

with atheris.instrument_imports(include=["ingestd.mime"]):
    from tests.mime.mutations import hold, seeds
    from tests.mime.test_anything import TOKENS

LONGEST = 20_000  # bytes; most that is wrong with mail is wrong within less


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile("w") as words:
        for number, mail in enumerate(seeds()):
            if len(mail) <= LONGEST:
                Path(directory, f"{number:03}").write_bytes(mail)
        words.writelines(map(_quoted, TOKENS))
        words.flush()
        atheris.Setup([*sys.argv, f"-max_len={LONGEST}", f"-dict={words.name}", directory], hold)
        atheris.Fuzz()


def _quoted(token: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n'


if __name__ == "__main__":
    main()
