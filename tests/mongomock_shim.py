"""Let mongomock take the bulk writes of the drivers that came after it, and tell the time as a server does.

Since 4.11 pymongo hands `sort` to the builders of a bulk write, also when nobody asked for one; mongomock 4.3 knows no
such argument. We never sort within a bulk write, so dropping `None` loses nothing, and anything else fails aloud.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mongomock
from mongomock.collection import BulkOperationBuilder
from mongomock.database import Database

METHODS = ("add_update", "add_replace")


def install() -> None:
    """Mend mongomock for this process. Doing it twice is as good as once."""
    for name in METHODS:
        method = getattr(BulkOperationBuilder, name)
        if not hasattr(method, "tolerates_sort"):
            setattr(BulkOperationBuilder, name, _without_sort(method))
    if not hasattr(Database.command, "tells_the_time"):
        Database.command = _telling_the_time(Database.command)


def _without_sort(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: BulkOperationBuilder, *args: Any, sort: None = None, **options: Any) -> Any:
        if sort is not None:
            raise NotImplementedError("mongomock cannot sort within a bulk write")
        return method(self, *args, **options)

    call.tolerates_sort = True  # type: ignore[attr-defined]  # a mark, so that nobody wraps twice
    return call


def _telling_the_time(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Database, command: Any, **options: Any) -> Any:
        if command == "hello":
            return {"localTime": mongomock.utcnow()}
        return method(self, command, **options)

    call.tells_the_time = True  # type: ignore[attr-defined]  # the same mark
    return call
