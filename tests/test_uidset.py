from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingestd.uidset import UIDSet

uids = st.sets(st.integers(1, 60), max_size=40)


@given(uids)
def test_a_set_is_written_and_read_back(members: set[int]) -> None:
    written = str(UIDSet.of(members))

    assert set(UIDSet.parse(written)) == members
    assert len(UIDSet.parse(written)) == len(members)


@given(uids, uids)
def test_the_operations_are_those_of_sets(left: set[int], right: set[int]) -> None:
    a, b = UIDSet.of(left), UIDSet.of(right)

    assert a | b == UIDSet.of(left | right)
    assert a & b == UIDSet.of(left & right)
    assert a - b == UIDSet.of(left - right)


@given(uids, st.integers(1, 50))
def test_the_lowest_the_highest_and_the_members_are_found(members: set[int], count: int) -> None:
    chosen = UIDSet.of(members)

    assert list(chosen.first(count)) == sorted(members)[:count]
    assert chosen.highest == max(members, default=0)
    assert all((uid in chosen) == (uid in members) for uid in range(1, 61))


@given(uids, st.integers(1, 7), st.integers(1, 100))
def test_chunks_are_bounded_and_together_are_the_whole(members: set[int], count: int, length: int) -> None:
    chunks = list(UIDSet.of(members).chunks(count, length))

    assert [uid for chunk in chunks for uid in chunk] == sorted(members)
    assert all(0 < len(chunk) <= count for chunk in chunks)
    assert all(len(str(chunk)) <= max(length, 21) for chunk in chunks)


def test_neighbours_are_joined_into_ranges() -> None:
    assert str(UIDSet.of([5, 1, 2, 3, 9])) == "1:3,5,9"


def test_the_ends_of_a_range_may_come_in_either_order() -> None:
    assert str(UIDSet.parse("9:7,1")) == "1,7:9"


def test_a_range_that_ends_before_it_begins_is_empty() -> None:
    assert not UIDSet.span(5, 4)
