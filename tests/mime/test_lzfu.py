"""Compressed RTF, decompressed in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestd.mime.lzfu import decompressed, is_sound
from tests.mime.winmail import compressed, stored

# The examples of MS-OXRTFCP, section 4: one of simple runs, one that refers to what it is just writing.
SIMPLE = "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
OVERLAPPING = "1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0"


@pytest.mark.parametrize(
    ("content", "rtf"),
    [
        (SIMPLE, b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"),
        (OVERLAPPING, b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"),
    ],
)
def test_the_examples_of_the_specification_are_decompressed(content: str, rtf: bytes) -> None:
    data = bytes.fromhex(content)

    assert b"".join(decompressed([data])) == rtf
    assert is_sound([data], len(rtf))


@given(
    st.lists(st.one_of(st.sampled_from([b"{\\rtf1", b"\\par ", b"\0", b"hello "]), st.binary(max_size=9))), st.data()
)
def test_what_was_compressed_comes_back_whatever_the_pieces(tokens: list[bytes], data: st.DataObject) -> None:
    rtf = b"".join(tokens) * data.draw(st.integers(1, 40))
    for content in (compressed(rtf), stored(rtf)):
        cut = data.draw(st.integers(0, len(content)))

        assert b"".join(decompressed([content[:cut], content[cut:]])) == rtf
        assert is_sound([content[:cut], content[cut:]], len(rtf))


@given(st.binary(max_size=200), st.sampled_from([b"LZFu", b"MELA", b"ZIPs"]))
def test_anything_is_decompressed_as_far_as_it_means_something(data: bytes, kind: bytes) -> None:
    content = b"\xff\0\0\0" * 2 + kind + bytes(4) + data

    assert b"".join(decompressed([content])) == b"".join(
        decompressed(content[at : at + 1] for at in range(len(content)))
    )
    assert not is_sound([content], 0)


def test_what_has_no_header_holds_nothing() -> None:
    for content in (b"", b"\xff\0\0\0" * 2 + b"LZFu", bytes(40)):
        assert list(decompressed([content])) == []
        assert not is_sound([content], 0)
