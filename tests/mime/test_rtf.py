"""RTF as text that a person can read."""

from __future__ import annotations

import pytest

from ingestd.mime.rtf import from_rtf

FONTS = rb"{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset204 Arial;}{\f2\fcharset128 MS;}}"


@pytest.mark.parametrize(
    ("rtf", "text"),
    [
        (rb"{\rtf1 plain {\b bold} text}", "plain bold text"),
        (b"{\\rtf1 one\\par\r\ntwo\\line three\\\nfour}", "one\ntwo\nthree\nfour"),
        (rb"{\rtf1 a\tab b\emdash c\~d\_e \{f\} g\\h}", "a\tb—c d-e {f} g\\h"),
        (rb"{\rtf1 caf\'e9 caf\'E9}", "café café"),
        (rb"{\rtf1\ansi\ansicpg1251 \'ea\'ee\'f4\'e5}", "кофе"),
        (rb"{\rtf1" + FONTS + rb"\f1 \'ea\'ee{\f0 \'e9}\'f4\'e5\plain \'e9}", "коéфеé"),
        (rb"{\rtf1" + FONTS + rb"\f2 \'82\'a0}", "あ"),
        (rb"{\rtf1\deff1" + FONTS + rb"\'ea}", "к"),
        (rb"{\rtf1\u1082?\u1086\'ee\uc0\u1092\uc3\u1077abc.}", "кофе."),
        (rb"{\rtf1\u-10179?\u-8704? \u128512?}", "😀 😀"),
        (rb"{\rtf1\u-10179?!}", "\ufffd!"),
        (rb"{\rtf1{\colortbl;\red0;}{\stylesheet{\s0 Normal;}}{\info{\title x}}{\*\generator y;}text}", "text"),
        (rb"{\rtf1 a{\pict\wmetafile8 010203}b{\pict\bin4 }}}}}c}", "abc"),
        (rb"{\rtf1{\field{\*\fldinst HYPERLINK x}{\fldrslt link}}}", "link"),
        (
            rb"{\rtf1\fromhtml1 {\*\htmltag64 <p>}\htmlrtf {\htmlrtf0 x{\*\htmltag84 &nbsp;}\htmlrtf \'a0\htmlrtf0 }",
            "x\xa0",
        ),
        (b"{\\rtf1 end}\x00", "end"),
        (b"", ""),
        (b"}}}{{{\\", ""),
        (b"no RTF", "no RTF"),
    ],
)
def test_rtf_is_read_as_a_program_shows_it_that_knows_little(rtf: bytes, text: str) -> None:
    assert from_rtf(rtf) == text
