"""Clocks of promises, worked out minute by minute with Python's own zones, to hold others against.

Each line of the input is a case, each line of the output what comes of it. Nothing here is worked out
by arithmetic on hours: every minute is looked at, whether it is one of work and whether the clock
runs, and then minutes are counted. The zones are those of PyPI's `tzdata`, not the machine's.
"""

import itertools
import json
import sys
import zoneinfo
from datetime import date, datetime, timedelta, timezone

import tzdata
from lines import answer_lines, say

zoneinfo.reset_tzpath(to=[])
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
BEFORE, AHEAD = 2 * 1440, 100 * 1440


def minute_of(text):
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int((at - EPOCH).total_seconds()) // 60


def instant(day, clock, zone):
    """The minute in which a place's clock shows this: what it skips is later, what it shows twice is
    the first time. That is what Python means by `fold=0`."""
    if clock == "24:00":
        day, clock = day + timedelta(days=1), "00:00"
    hour, minute = map(int, clock.split(":"))
    shown = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=0)
    return int((shown - EPOCH).total_seconds()) // 60


class Week:
    def __init__(self, week):
        self.zone = zoneinfo.ZoneInfo(week["time_zone"])
        self.hours, self.exceptions = week["hours"], week.get("exceptions", {})

    def date_at(self, minute):
        return (EPOCH + timedelta(minutes=minute)).astimezone(self.zone).date()

    def stretches(self, day):
        hours = self.exceptions.get(day.isoformat())
        if hours is None:
            hours = self.hours.get(DAYS[day.weekday()], [])
        midnight = instant(day, "00:00", self.zone)
        if self.date_at(midnight) != day:
            return []
        return [(instant(day, it["from"], self.zone), instant(day, it["until"], self.zone)) for it in hours]


class Case:
    def __init__(self, case):
        self.marks = [(minute_of(at), kind) for at, kind in case["marks"]]
        self.now = minute_of(case["now"])
        self.pauses, self.target, self.percent = case["pauses"], case["target"], case["percent"]
        first = min(at for at, _ in self.marks)
        last = max([self.now] + [at for at, _ in self.marks])
        self.base, self.size = first - BEFORE, last + AHEAD - first + BEFORE
        calendar = case["calendar"]
        self.weeks = []
        if calendar is not None:
            past = [(minute_of(it["until"]), Week(it["week"])) for it in calendar["past"]]
            self.weeks = past + [(None, Week(calendar["week"]))]
        self.mark_minutes()

    def mark_minutes(self):
        """For each minute whether work is done, and by which week it counts."""
        if not self.weeks:
            self.open = bytearray(b"\x01") * self.size
            return
        self.open = bytearray(self.size)
        begin = self.base
        self.spans_of_weeks = []
        for until, week in self.weeks:
            end = self.base + self.size if until is None else until
            lo, hi = max(begin, self.base), min(end, self.base + self.size)
            self.spans_of_weeks.append((begin, end, week))
            if lo < hi:
                day = week.date_at(lo) - timedelta(days=1)
                while instant(day, "00:00", week.zone) < hi:
                    for start, stop in week.stretches(day):
                        start, stop = max(start, lo), min(stop, hi)
                        if start < stop:
                            at = start - self.base
                            self.open[at : stop - self.base] = b"\x01" * (stop - start)
                    day += timedelta(days=1)
            begin = end

    def week_at(self, minute):
        for begin, end, week in self.spans_of_weeks:
            if minute < end:
                return week
        return self.spans_of_weeks[-1][2]

    def is_open(self, minute):
        return self.open[minute - self.base] == 1

    def clock(self):
        """When it runs: a flag for each minute until it has ended or it is now, and how it is."""
        start = next(at for at, kind in self.marks if kind == "starts")
        state, since, ended, runs = "running", start, None, []
        for at, kind in self.marks[[kind for _, kind in self.marks].index("starts") + 1 :]:
            if kind == "resumes" and state == "paused":
                state, since = "running", at
            elif kind == "pauses" and self.pauses and state == "running":
                runs.append((since, at))
                state, since = "paused", None
            elif kind in ("stops", "cancels"):
                if state == "running":
                    runs.append((since, at))
                state, since, ended = ("stopped" if kind == "stops" else "cancelled"), None, at
                break
        if state == "running":
            runs.append((since, max(self.now, since)))
        return start, runs, state, ended

    def work_minutes(self, start):
        """The minutes of work from one on, each."""
        at = start - self.base
        while True:
            at = self.open.find(1, at)
            if at < 0:
                return
            yield at + self.base
            at += 1

    def target_of(self, start):
        if "minutes" in self.target:
            return self.target["minutes"]
        days, count = [], 0
        for minute in self.work_minutes(start):
            day = self.week_at(minute).date_at(minute) if minute % 15 == 0 or not days else None
            if day is None:
                day = self.week_at(minute).date_at(minute)
            if not days or days[-1] != day:
                days.append(day)
                if len(days) == self.target["end_of_day"] + 2:
                    return count
            count += 1
        raise ValueError("the case looks too far ahead")

    def reached(self, amount, runs, state):
        """When so many minutes were worked, or will be."""
        left = amount
        for begin, end in runs:
            worked = self.open.count(1, begin - self.base, end - self.base)
            if left <= worked:
                return self.nth(begin, left)
            left -= worked
        return self.nth(runs[-1][1], left) if state == "running" else None

    def nth(self, start, count):
        if count == 0:
            return start
        for minute in self.work_minutes(start):
            count -= 1
            if count == 0:
                return minute + 1
        raise ValueError("the case looks too far ahead")

    def reasons(self, start, runs, end):
        running = bytearray(max(end - start, 0))
        for begin, stop in runs:
            for minute in range(begin, min(stop, end)):
                running[minute - start] = 1
        spans, at, dates = [], start, {}

        def why(minute):
            if running[minute - start]:
                if self.is_open(minute):
                    return "work"
                if not self.weeks:
                    return "outside_hours"
                week = self.week_at(minute)
                key = (minute // 15, id(week))
                if key not in dates:
                    # No zone's clock changes within a quarter of an hour.
                    dates[key] = week.date_at(minute).isoformat() in week.exceptions
                return "exception" if dates[key] else "outside_hours"
            return "paused" if self.is_open(minute) else "paused_outside_hours"

        for reason, minutes in itertools.groupby(range(start, end), why):
            count = sum(1 for _ in minutes)
            spans.append([at, at + count, reason])
            at += count
        return spans


def answer(line):
    case = Case(line)
    start, runs, state, ended = case.clock()
    target = case.target_of(start)
    used = sum(case.open.count(1, a - case.base, b - case.base) for a, b in runs)
    due = case.reached(target, runs, state)
    was = due is not None and sum(
        case.open.count(1, a - case.base, min(b, due) - case.base) for a, b in runs if a < due
    ) >= target
    late = was and any(end > due for _, end in runs)
    return {
        "state": state,
        "started": start,
        "ended": ended,
        "target": target,
        "used": used,
        "due": due,
        "breached": due if late else None,
        "open": case.is_open(case.now),
        "crossings": [[it, case.reached(target * it // 100, runs, state)] for it in case.percent],
        "spans": case.reasons(start, runs, case.now if ended is None else ended),
    }


say({"zones": tzdata.IANA_VERSION})
answer_lines(answer)
