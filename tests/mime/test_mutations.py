"""The first of the mutated messages; `python -m tests.mime.mutations 10000` runs more of them."""

from __future__ import annotations

import pytest

from tests.mime.mutations import hold, mutation

TENS = range(40)


@pytest.mark.parametrize("ten", TENS)
def test_a_message_may_be_mutated_in_any_way(ten: int) -> None:
    for number in range(ten * 10, ten * 10 + 10):
        hold(mutation(number))


def test_a_number_always_means_the_same_message() -> None:
    assert [mutation(number) for number in range(20)] == [mutation(number) for number in range(20)]
    assert len({mutation(number) for number in range(20)}) > 10
