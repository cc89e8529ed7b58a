"""Who writes the mail of the sample mailbox, in which language, and what they send around. Nobody of them is real."""

from __future__ import annotations

from dataclasses import dataclass

HOST = "mx.example.org"  # received all this; the one whose Authentication-Results can be believed


@dataclass(frozen=True, slots=True)
class Language:
    charset: str
    encoding: str  # the transfer encoding its writers' programs prefer
    subjects: tuple[str, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    address: str
    language: str
    offset_minutes: int = 0

    @property
    def domain(self) -> str:
        return self.address.partition("@")[2]


LANGUAGES = {
    "en": Language(
        "us-ascii",
        "7bit",
        ("Minutes of the planning meeting", "Invoice 2026-017", "Server move on Thursday", "Draft of the contract"),
        (
            "Please find the figures below.",
            "Could you have a look before Thursday?",
            "I moved the meeting to the small room, since the large one is being painted.",
            "The customer agreed, but wants the first delivery two weeks earlier.",
            "Nothing else has changed since the last version.",
            "Let me know if that works for you.",
        ),
    ),
    "en-GB": Language(
        "utf-8",
        "quoted-printable",
        ("Café opening hours", "Quarterly review – agenda", "Re-using the façade drawings", "Budget: €12,000 left"),
        (
            "That’s fine with me – go ahead.",
            "The café next door has closed, so lunch is at the naïvely named “Bistro”. 😀",
            "We have about €12,000 left for this quarter.",
            "I’ll ring the architects about the façade tomorrow.",
        ),
    ),
    "de": Language(
        "windows-1252",
        "quoted-printable",
        ("Angebot für die Geräte", "Rückfrage zur Rechnung", "Schlüsselübergabe"),
        (
            "Anbei unser „endgültiges“ Angebot über 1.250 €.",
            "Könnten Sie mir die Rechnung nochmals schicken?",
            "Die Schlüssel übergeben wir am Dienstag.",
            "Mit freundlichen Grüßen",
        ),
    ),
    "fr": Language(
        "iso-8859-1",
        "8bit",
        ("Réunion reportée", "Délai de livraison", "Été : congés de l'équipe"),
        (
            "La réunion est reportée à la semaine prochaine.",
            "Le délai de livraison a été prolongé.",
            "Voilà les congés demandés par l'équipe.",
        ),
    ),
    "ja": Language(
        "iso-2022-jp",
        "7bit",
        ("会議資料の送付", "請求書について", "納期のご確認"),
        (
            "お世話になっております。",
            "資料を添付いたします。",
            "ご確認のほどよろしくお願いいたします。",
            "納期は来週の予定です。",
        ),
    ),
    "zh": Language(
        "gb18030",
        "base64",
        ("会议安排", "合同附件", "服务器更新通知"),
        ("您好，请查收附件。", "会议改到明天下午。", "合同已经更新，请确认。", "谢谢。"),
    ),
    "ru": Language(
        "koi8-r",
        "8bit",
        ("Договор и счёт", "Встреча завтра", "Отчёт за квартал"),
        ("Здравствуйте, отправляю отчёт за квартал.", "Встреча переносится на завтра.", "Спасибо за быстрый ответ."),
    ),
}
PEOPLE = (
    Person("Ann", "ann@example.org", "en"),
    Person("Zoë", "zoe@example.org", "en-GB", 60),
    Person("Asha", "asha@example.org", "en", 330),
    Person("Ben", "ben@example.org", "en-GB", -300),
    Person("Jürgen", "juergen@example.com", "de", 60),
    Person("Käthe", "kaethe@example.com", "de", 60),
    Person("Hélène", "helene@example.net", "fr", 60),
    Person("太郎", "taro@tokyo.example.com", "ja", 540),
    Person("花子", "hanako@tokyo.example.com", "ja", 540),
    Person("娜", "na@example.net", "zh", 480),
    Person("Иван", "ivan@example.com", "ru", 180),
    Person("Olivia", "olivia@sales.example.com", "en", -480),
)
STAFF = tuple(person for person in PEOPLE if person.domain == "example.org")
DESK = Person("Desk", "desk@example.org", "en")  # everybody writes to it, or copies it
ACCOUNTS = Person("Accounts", "accounts@example.org", "en")
DAEMON = Person("Mail Delivery System", f"mailer-daemon@{HOST}", "en")
FEEDBACK = Person("Feedback", "feedback@mail.example.com", "en")
SHOPS = (
    Person("Example Shop", "news@shop.example.net", "en"),
    Person("Example Travel", "offers@travel.example.com", "en"),
)
LISTS = ("gardeners", "releases")
LOST = ("ada@example.com", "eve@example.com", "joe@example.net", "mia@shop.example.net", "leo@mail.example.com")
FLAGS = {
    (): 40,
    ("\\Seen",): 42,
    ("\\Answered", "\\Seen"): 12,
    ("\\Flagged", "\\Seen"): 3,
    ("$Forwarded", "\\Seen"): 3,
}

TYPES = {  # by extension: the content type, and how such a file begins
    "pdf": ("application/pdf", b"%PDF-1.7\n"),
    "docx": ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"PK\3\4\x14\0\6\0"),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", b"PK\3\4\x14\0\6\0"),
    "png": ("image/png", b"\x89PNG\r\n\x1a\n"),
    "bin": ("application/octet-stream", b"\0\1\2\3"),
}
FILES = {  # which several people send
    "report.pdf": 24_000,
    "Отчёт за квартал.pdf": 31_000,
    "請求書 2026年1月.pdf": 18_000,
    "Angebot für Müller & Söhne.docx": 12_000,
    "minutes of the planning meeting, with all comments, second corrected version.docx": 9_000,
    "figures.xlsx": 7_000,
    "photo.png": 40_000,
    "data;with=odd chars'.bin": 3_000,
}
