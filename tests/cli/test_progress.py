"""Progress of several things at once, on a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import ingestd.cli.progress
from ingestd.cli.once import Watching
from ingestd.cli.output import Output
from ingestd.cli.progress import Bars
from ingestd.summary import Summary
from tests.waiting import DEADLINE


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestd.cli.progress, "PATIENCE", 0)
    monkeypatch.setattr(ingestd.cli.progress, "TELLING", 0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


@contextmanager
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal, as stdout and stderr; what is written there can be read from the file that is given."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(sys, "stdout", terminal)
        yield ours
    os.close(ours)


def shown(screen: int, *wanted: str) -> str:
    seen = ""
    while not all(each in seen for each in wanted) and select.select([screen], [], [], DEADLINE)[0]:
        seen += os.read(screen, 65536).decode()
    return seen


def test_several_passes_have_a_bar_each_and_what_one_came_to_stands_on_lines_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with screen(monkeypatch) as terminal, Watching(Output()) as watch:
        watch.began("work/INBOX", 4000)
        watch.began("home/INBOX", 500)
        watch.advanced("work/INBOX", 1000, 1)
        watch.advanced("home/INBOX", 250, 1)
        both = shown(terminal, "work/INBOX", "1000/4000", "home/INBOX", "250/500", "/s, ", " left")

        watch.ended(Summary("home", "INBOX", selected=500, stored=500))
        told = shown(terminal, "500 selected = 500 stored")
        watch.advanced("work/INBOX", 1000, 1)
        after = shown(terminal, "2000/4000")

    assert both
    line = next(line for line in told.replace("\r", "").split("\n") if "500 selected" in line)
    assert "━" not in line
    assert "home" not in after.rpartition("2000/4000")[2]


def test_a_pass_that_broke_off_has_no_bar_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with screen(monkeypatch) as terminal, Watching(Output()) as watch:
        watch.began("work/INBOX", 4000)
        watch.advanced("work/INBOX", 1000, 1)
        shown(terminal, "1000/4000")
        watch.broke_off("work/INBOX")
        watch.began("home/INBOX", 4000)
        watch.advanced("home/INBOX", 2000, 1)

        assert "work" not in shown(terminal, "2000/4000").rpartition("2000/4000")[0].rpartition("home")[2]


def test_without_a_terminal_each_says_now_and_then_how_far_it_is_how_fast_and_how_long_it_will_take(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 100.0
    with Bars("messages", shown=True, terminal=False, clock=lambda: now) as bars:
        work, home = bars.begin("work/INBOX", 5000), bars.begin("home/INBOX", None)
        now = 110.0
        work.advance(4000)
        home.advance(20)

    assert capsys.readouterr().err == (
        "work/INBOX: 4,000 of 5,000 messages, 400/s, 3 s left\nhome/INBOX: 20 messages, 2/s\n"
    )
