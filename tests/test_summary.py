"""The counts of a pass add up, also when it goes on where another one of the same visit broke off."""

from __future__ import annotations

import pytest

from ingestd.ingest import Plan
from ingestd.summary import Summary
from ingestd.uidset import UIDSet


@pytest.mark.parametrize("present", ["1:10", "3:10", "9:10"])
def test_what_was_stored_before_a_pass_broke_off_counts_with_the_one_that_goes_on(present: str) -> None:
    there, done = UIDSet.parse(present), UIDSet.parse("1:5")  # 4 and 5 were stored just now
    summary = Summary("work", "INBOX", stored=1, copies=1)

    summary.begin(Plan(there, done, UIDSet.parse("6:9") & there, {"older_than_since": UIDSet.parse("10")}, UIDSet()))

    assert summary.on_server == summary.known_before + summary.selected + summary.left_out["older_than_since"]
    assert summary.known_before >= 0
    assert summary.selected == len(UIDSet.parse("6:9") & there) + 2
    assert summary.remaining == summary.selected - 2
