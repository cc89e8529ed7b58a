"""Sizes and durations as people write them."""

from datetime import timedelta

import pytest

from ingestd import units


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("0B", 0), ("64MiB", 64 << 20), (" 2 GiB ", 2 << 30), ("1TiB", 1 << 40), ("3KiB", 3072)]
)
def test_a_size_is_a_number_and_a_unit(text: str, size_bytes: int) -> None:
    assert units.size(text) == size_bytes


@pytest.mark.parametrize("text", ["64", "64MB", "64mib", "-1MiB", "1.5GiB", "MiB", "", "١MiB", "1" * 10 + "B"])
def test_another_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='must be a size such as "64MiB"'):
        units.size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("90d", 7776000), ("1w", 604800)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert units.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["5", "5 minutes", "1h30m", "-5m", "0.5h", "5M", "", "999999999w"])
def test_another_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='must be a duration such as "30s"'):
        units.duration(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1834223, "1.7 MiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (5 << 40, "5.0 TiB"),
        (5000 << 40, "5,000.0 TiB"),
    ],
)
def test_a_size_is_shown_for_people(size_bytes: int, text: str) -> None:
    assert units.size_text(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (0.414, "0.41 s"),
        (9.999, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (11520, "3 h 12 min"),
        (90000, "1 d 1 h"),
        (-125, "-2 min 5 s"),
    ],
)
def test_a_duration_is_shown_for_people(seconds: float, text: str) -> None:
    assert units.duration_text(timedelta(seconds=seconds)) == text
