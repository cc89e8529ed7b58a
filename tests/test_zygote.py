"""What the trials start ingestd with ends what it has started, and says when it has ended itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.faults.zygote import Zygote


def test_a_process_is_killed_however_young_it_is(tmp_path: Path) -> None:
    with Zygote() as zygote:
        for _ in range(200):
            life = zygote.start("run", log=tmp_path / "log")
            life.kill()

            assert life.wait() in (-9, 2)  # 2: it came as far as to find no configuration


def test_a_zygote_that_has_ended_is_not_waited_for() -> None:
    with Zygote() as zygote:
        os.kill(zygote.pid, signal.SIGKILL)

        with pytest.raises(AssertionError, match="the zygote has ended"):
            zygote.wait(zygote.pid)
