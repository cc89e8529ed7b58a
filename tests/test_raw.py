from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd import raw as raws
from ingestd.raw import InMemory, OnDisk, Raw, pieces

DATA = bytes(range(256)) * 5


@pytest.fixture
def both(tmp_path: Path) -> tuple[InMemory, OnDisk]:
    path = tmp_path / "message.eml"
    path.write_bytes(DATA)
    return InMemory(DATA), OnDisk(path, len(DATA))


@given(start=st.integers(0, 1300), end=st.integers(0, 1300))
def test_slices_are_clipped_alike_in_memory_and_on_disk(
    tmp_path_factory: pytest.TempPathFactory, start: int, end: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "slices.eml"
    path.write_bytes(DATA)

    with OnDisk(path, len(DATA)).open() as opened:
        assert opened.read(start, end) == DATA[start:end]


def test_a_needle_across_two_windows_is_found(both: tuple[InMemory, OnDisk], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raws, "PIECE", 10)

    with both[1].open() as opened:
        found = [opened.find(DATA[at : at + 4], at, len(DATA)) for at in range(250)]

    assert found == list(range(250))


def test_what_is_not_wholly_within_the_bounds_is_not_found(both: tuple[InMemory, OnDisk]) -> None:
    def absent(raw: Raw) -> bool:
        return raw.find(b"\x10\x11\x12", 0, 18) == -1

    with both[0].open() as memory, both[1].open() as disk:
        assert absent(memory)
        assert absent(disk)


def test_pieces_are_the_whole_in_order(both: tuple[InMemory, OnDisk]) -> None:
    with both[1].open() as opened:
        taken = list(pieces(opened, 3, 10_000, 100))

    assert b"".join(taken) == DATA[3:]
    assert max(map(len, taken)) == 100


def test_a_file_that_was_cut_short_is_an_error(both: tuple[InMemory, OnDisk]) -> None:
    both[1].path.write_bytes(DATA[:100])

    with both[1].open() as opened, pytest.raises(OSError, match="ended at 100"):
        opened.read(0, len(DATA))
