"""What tests of the configuration share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.writing import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "ingestd.toml") -> Path:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    return write


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INGESTD_CONFIG", raising=False)
    (tmp_path / "home" / ".config" / "ingestd").mkdir(parents=True)
    return tmp_path / "home"
