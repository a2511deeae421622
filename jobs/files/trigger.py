"""When schedules run: by cron, or every so often."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from jobs.files import cron
from jobs.files.reading import Place
from jobs.files.record import Record
from jobs.files.shapes import ByKind, Choice, Definitions, Many, Schema, Whole, named
from jobs.files.time_zones import zone

WeekDay = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEK_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MOMENT = re.compile(r"\d{4}-\d{1,2}-\d{1,2}[T ]\d{1,2}:\d{1,2}(:\d{1,2}(\.\d{1,6}\d{0,6})?)?(Z|[+-]\d{2}(:?\d{2})?)?")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as ISO 8601 has it; without a zone it is of the trigger's."""

    def read(self, place: Place, value: Any) -> str:
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            return value
        raise place.wrong(f"must be a time, as 2026-05-01T08:30:00, not {named(value)}")

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": "string", "pattern": f"^{_MOMENT.pattern}$"}


@dataclass(frozen=True, slots=True)
class OneOrMany:
    """Some numbers or words; one alone needs no list."""

    item: Whole | Choice

    def read(self, place: Place, value: Any) -> tuple[Any, ...]:
        if isinstance(value, list):
            return Many(self.item).read(place, value)
        return (self.item.read(place, value),)

    def schema(self, definitions: Definitions) -> Schema:
        one = self.item.schema(definitions)
        return {"anyOf": [one, {"type": "array", "items": one}]}


Start = Annotated[str | None, Moment(), "The first time at the earliest."]
End = Annotated[str | None, Moment(), "The last time at the latest."]
Zone = Annotated[str, "The zone of all times: an IANA name, or a Windows name as `Pacific Standard Time`."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """When cron says so."""

    type: Literal["cron"]
    expression: Annotated[str, "Minute, hour, day, month, day of the week."]
    start_time: Start = None
    end_time: End = None
    time_zone: Zone = "UTC"

    def settle(self, place: Place, _: Mapping[str, Any]) -> Cron:
        try:
            cron.parse(self.expression)
        except ValueError as problem:
            place.under("expression").object("no-cron", f"{self.expression!r}: {problem}")
        check_zone(place, self.time_zone)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """On which days and at which times."""

    hours: Annotated[tuple[int, ...], OneOrMany(Whole())]
    minutes: Annotated[tuple[int, ...], OneOrMany(Whole())]
    week_days: Annotated[tuple[WeekDay, ...], OneOrMany(Choice(WEEK_DAYS))] = ()
    month_days: Annotated[tuple[int, ...], OneOrMany(Whole())] = ()

    def settle(self, place: Place, _: Mapping[str, Any]) -> Pattern:
        for key, least, most in (("hours", 0, 23), ("minutes", 0, 59), ("month_days", -1, 31)):
            for number in getattr(self, key):
                if not least <= number <= most:
                    place.under(key).object("no-such-time", f"`{key}` cannot be {number}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """Every so many minutes, hours, days, weeks or months."""

    type: Literal["recurrence"]
    frequency: Literal["minute", "hour", "day", "week", "month"]
    interval: Annotated[int, "How many of them."]
    schedule: Pattern | None = None
    start_time: Start = None
    end_time: End = None
    time_zone: Zone = "UTC"

    def settle(self, place: Place, _: Mapping[str, Any]) -> Recurrence:
        if self.interval < 1:
            place.under("interval").object("no-interval", f"must be at least 1, not {self.interval}")
        check_zone(place, self.time_zone)
        return self


Trigger = Cron | Recurrence
TRIGGER = ByKind({"cron": Record(Cron), "recurrence": Record(Recurrence)})


def check_zone(place: Place, name: str) -> None:
    """Object to a time zone that nobody knows."""
    if zone(name) is None:
        hint = "an IANA name, as Europe/Berlin, or one of Windows, as `Pacific Standard Time`"
        place.under("time_zone").object("no-time-zone", f"there is no time zone {name!r}", hint=hint)
