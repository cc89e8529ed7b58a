"""Times of the day and the week, as crontab(5) writes them: `0 7-19 * * mon-fri`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger


@dataclass(frozen=True, slots=True)
class Cron:
    """Minute, hour, day of month, month and day of week, by the wall clock of a time zone."""

    fields: str
    zone: str = "UTC"

    @property
    def trigger(self) -> CronTrigger:
        """What has its times; raise ValueError, saying why, when *fields* mean none."""
        if any(character.isdigit() for character in self.fields.split(" ")[-1]):
            # For crontab 0 and 7 are Sunday, for APScheduler 0 is Monday.
            raise ValueError("name the days of the week: mon, tue, wed, thu, fri, sat, sun, or mon-fri")
        from apscheduler.triggers.cron import CronTrigger  # here, since every command reads the configuration

        return CronTrigger.from_crontab(self.fields, self.zone)
