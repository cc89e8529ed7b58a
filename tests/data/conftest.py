"""The office, stored; and documents as their readers get them."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from tests.data import office as letters


@pytest.fixture
def office(database: Database[dict[str, Any]]) -> Database[dict[str, Any]]:
    """A database that holds the office."""
    letters.fill(database)
    return database
