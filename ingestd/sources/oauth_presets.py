"""Where well-known providers give tokens, and what to ask for; by their documentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """The addresses of a provider; `{tenant}` stands for that of the account."""

    token_url: str
    device_url: str | None
    authorize_url: str | None
    scope: str  # for a person
    own_scope: str | None = None  # for a client that logs in as itself


_MICROSOFT = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0"
_OUTLOOK = "https://outlook.office.com"

PRESETS = {
    # Google's login by code does not give access to mail, so a page is the only way there.
    "google": Preset(
        "https://oauth2.googleapis.com/token",
        None,
        "https://accounts.google.com/o/oauth2/v2/auth",
        "https://mail.google.com/",
    ),
    "microsoft": Preset(
        f"{_MICROSOFT}/token",
        f"{_MICROSOFT}/devicecode",
        f"{_MICROSOFT}/authorize",
        f"{_OUTLOOK}/IMAP.AccessAsUser.All {_OUTLOOK}/POP.AccessAsUser.All {_OUTLOOK}/SMTP.Send offline_access",
        "https://outlook.office365.com/.default",
    ),
}
