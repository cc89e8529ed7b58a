"""What every test may ask for. The servers live in modules of their own, beside this file."""

import logging
import signal
from collections.abc import Iterator

import pytest
import structlog

from ingestd import logs

# A shell that starts us in the background has SIGINT ignored, and whatever we start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.dovecot", "tests.mongodb", "tests.passes"]


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command that runs in this process says what is logged, and how; the next test begins without that."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in logs.SILENT:
        logging.getLogger(name).setLevel(logging.NOTSET)
