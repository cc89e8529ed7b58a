"""Readable text from RTF: what a program shows that knows nothing of fonts, pictures and fields.

HTML that Outlook put into RTF (MS-OXRTFEX) stands in groups that such a program passes over, beside a rendering of it.
That is what is read here; the HTML is not restored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .charsets import code_page, decode

_TOKEN = re.compile(
    rb"\\(?:(?P<word>[a-zA-Z]{1,32})(?P<number>-?[0-9]{1,9})?[ ]?|'(?P<hex>[0-9a-fA-F]{2})|(?P<symbol>.))"
    rb"|(?P<brace>[{}])|(?P<text>[^\\{}\r\n]+)|[\r\n]+",
    re.DOTALL,
)
_FONTS = b"fonttbl"
_UNSEEN = frozenset({_FONTS, b"colortbl", b"stylesheet", b"info", b"pict", b"objdata", b"fldinst"})
_OF_FONTS = frozenset({b"ansicpg", b"deff", b"f", b"fcharset", b"plain"})
_SAID = {
    **dict.fromkeys((b"par", b"line", b"sect", b"page", b"row"), "\n"),
    **dict.fromkeys((b"tab", b"cell"), "\t"),
    b"emdash": "—",
    b"endash": "–",
    b"bullet": "•",
    b"lquote": "‘",
    b"rquote": "’",
    b"ldblquote": "“",
    b"rdblquote": "”",
}
_SYMBOLS = {b"~": " ", b"_": "-", b"\n": "\n", b"\r": "\n"}
_ESCAPED = frozenset({b"\\", b"{", b"}"})
_CODE_PAGES = {77: 10000, 128: 932, 129: 949, 130: 1361, 134: 936, 136: 950, 161: 1253, 162: 1254, 163: 1258}
_CODE_PAGES |= {177: 1255, 178: 1256, 186: 1257, 204: 1251, 222: 874, 238: 1250}


def from_rtf(source: bytes) -> str:
    """The text of an RTF document; linear in it, whatever it holds."""
    return _Reader().text(source).strip("\x00 \n")


@dataclass(frozen=True, slots=True)
class _State:
    """What holds up to the end of a group."""

    shown: bool = True
    in_fonts: bool = False
    instead: int = 1  # characters after a Unicode one, for programs that do not know it
    font: int | None = None


class _Reader:
    """Goes through the tokens once. What is said is decoded where its charset may change."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._bytes = bytearray()  # not decoded yet: a character may come in several tokens
        self._state = _State()
        self._around: list[_State] = []
        self._instead = 0  # characters still to be passed over
        self._page = 1252
        self._default_font = 0
        self._font = 0  # of the table of fonts, at hand
        self._pages: dict[int, int] = {}  # by font

    def text(self, source: bytes) -> str:
        at = 0
        while match := _TOKEN.match(source, at):
            at = match.end()
            if word := match["word"]:
                number = int(match["number"]) if match["number"] else None
                at += max(number or 0, 0) if word == b"bin" else 0
                self._word(word, number)
            elif match["brace"]:
                self._group(opens=match["brace"] == b"{")
            elif match["symbol"]:
                self._symbol(match["symbol"])
            else:
                self._add(match["text"] or bytes.fromhex((match["hex"] or b"").decode("ascii")))
        self._decode()
        # Characters beyond the first plane come as two numbers.
        return "".join(self._said).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _word(self, word: bytes, number: int | None) -> None:
        if word in _UNSEEN:
            self._state = replace(self._state, shown=False, in_fonts=word == _FONTS)
        elif word in _SAID:
            self._say(_SAID[word])
        elif word == b"uc":
            self._state = replace(self._state, instead=max(number or 0, 0))
        elif word == b"u" and number is not None:
            self._say(chr(number if 0 <= number < 0x110000 else number & 0xFFFF))
            self._instead = self._state.instead
        elif word in _OF_FONTS:
            self._choose(word, number or 0)

    def _choose(self, word: bytes, number: int) -> None:
        self._decode()
        if word == b"ansicpg":
            self._page = number
        elif word == b"deff":
            self._default_font = number
        elif word == b"fcharset":
            if number in _CODE_PAGES:
                self._pages[self._font] = _CODE_PAGES[number]
        elif self._state.in_fonts:
            self._font = number
        else:
            self._state = replace(self._state, font=number if word == b"f" else None)

    def _group(self, *, opens: bool) -> None:
        self._decode()
        self._instead = 0
        if opens:
            self._around.append(self._state)
        elif self._around:
            self._state = self._around.pop()

    def _symbol(self, symbol: bytes) -> None:
        if symbol == b"*":  # a group for programs that know what it is
            self._state = replace(self._state, shown=False)
        elif symbol in _SYMBOLS:
            self._say(_SYMBOLS[symbol])
        elif symbol in _ESCAPED:
            self._add(symbol)

    def _add(self, data: bytes) -> None:
        passed = min(self._instead, len(data))
        self._instead -= passed
        if self._state.shown:
            self._bytes += data[passed:]

    def _say(self, text: str) -> None:
        self._decode()
        if self._state.shown:
            self._said.append(text)

    def _decode(self) -> None:
        if self._bytes:
            font = self._default_font if self._state.font is None else self._state.font
            self._said.append(decode(bytes(self._bytes), code_page(self._pages.get(font, self._page))).text)
            self._bytes.clear()
