"""Dates as the two sides write them: RFC 3339 in message/cpim and XMPP, RFC 1123 in SIP.

XEP-0082 takes its DateTime profile from the same ISO 8601 subset as RFC 3339, so one reader and one writer serve both.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from math import floor

from .errors import SyntaxFault

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})([Tt ])([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_SIP_DATE = re.compile(r"([A-Z][a-z]{2}), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LEAP_DAYS = ((6, 30), (12, 31))
_RULE = "RFC 3339 section 5.6"
_SIP_RULE = "RFC 3261 section 20.17"


def parse_rfc3339(text: str, *, strict: bool = False) -> datetime:
    """Read a `date-time` as an aware datetime in UTC, to the microsecond (what is finer is cut off). Raises SyntaxFault.

    "t" and "z" may be lower case; "-00:00" is UTC; unless `strict`, a space may stand for the "T" (RFC 3339 section 5.6). Second 60 is
    taken only where leap seconds happen, at the end of June or December in UTC (section 5.7), and is the instant that POSIX gives it:
    the second after 59.

    >>> parse_rfc3339("2001-02-01T12:16:49-05:00")
    datetime.datetime(2001, 2, 1, 17, 16, 49, tzinfo=datetime.timezone.utc)
    """
    found = _RFC3339.fullmatch(text)
    if not found or (strict and found[4] == " "):
        raise SyntaxFault("Bad date-time", section=_RULE)
    is_leap = found[7] == "60"
    micros = int((found[8] or "")[:6].ljust(6, "0"))
    try:
        instant = datetime(
            int(found[1]),
            int(found[2]),
            int(found[3]),
            int(found[5]),
            int(found[6]),
            59 if is_leap else int(found[7]),
            micros,
            _zone(found[9], found[10], found[11]),
        ).astimezone(UTC)
        if not is_leap:
            return instant
        if (instant.month, instant.day) not in _LEAP_DAYS or (instant.hour, instant.minute) != (23, 59):
            raise SyntaxFault("Bad leap second", section="RFC 3339 section 5.7")
        return instant + timedelta(seconds=1)
    except (ValueError, OverflowError):
        raise SyntaxFault("Bad date-time", section=_RULE) from None


def _zone(sign: str | None, hours: str, minutes: str) -> timezone:
    if not sign:
        return UTC
    if int(hours) > 23 or int(minutes) > 59:
        raise SyntaxFault("Bad time offset", section=_RULE)
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-ahead if sign == "-" else ahead)


def format_rfc3339(posix: float) -> str:
    """POSIX seconds as `date-time` in UTC, rounded to the millisecond; a whole second is written without a fraction. Raises SyntaxFault.

    >>> format_rfc3339(1770110160), format_rfc3339(1770110160.25)
    ('2026-02-03T09:16:00Z', '2026-02-03T09:16:00.250Z')
    """
    try:
        seconds, millis = divmod(round(posix * 1000), 1000)
        return f"{_second(seconds)}.{millis:03}Z" if millis else f"{_second(seconds)}Z"
    except (ValueError, OverflowError, OSError):
        raise SyntaxFault("Date out of range", section=_RULE) from None


@lru_cache(maxsize=64)
def _second(posix: int) -> str:
    return datetime.fromtimestamp(posix, UTC).isoformat()[:19]


def parse_sip_date(text: str) -> float:
    """Read a SIP-date (`Sat, 13 Nov 2010 23:29:00 GMT`) as POSIX seconds. Raises SyntaxFault.

    Case counts, and GMT is the only zone (RFC 3261 section 20.17). The day of the week must be a day, but it is not held against the date.
    """
    found = _SIP_DATE.fullmatch(text)
    if not found or found[1] not in _DAYS or found[3] not in _MONTHS:
        raise SyntaxFault("Bad Date", section=_SIP_RULE)
    try:
        return datetime(
            int(found[4]), _MONTHS.index(found[3]) + 1, int(found[2]), int(found[5]), int(found[6]), int(found[7]), tzinfo=UTC
        ).timestamp()
    except ValueError:
        raise SyntaxFault("Bad Date", section=_SIP_RULE) from None


def format_sip_date(posix: float) -> str:
    """POSIX seconds as a SIP-date; a fraction is cut off (DATE-05). Never depends on the locale. Raises SyntaxFault.

    >>> format_sip_date(1289690940.9)
    'Sat, 13 Nov 2010 23:29:00 GMT'
    """
    try:
        return _sip_second(floor(posix))
    except (ValueError, OverflowError, OSError):
        raise SyntaxFault("Date out of range", section=_SIP_RULE) from None


@lru_cache(maxsize=64)
def _sip_second(posix: int) -> str:
    when = datetime.fromtimestamp(posix, UTC)
    return f"{_DAYS[when.weekday()]}, {when.day:02} {_MONTHS[when.month - 1]} {when.year:04} {when:%H:%M:%S} GMT"


MOST_OFF_SECONDS = 300
"""How far a signed date may be from now (RFC 3923 section 6.9: five minutes; SMIME-23)."""
OLD, FUTURE, DECREASING, UNDATED, REPEATED = "old timestamp", "future timestamp", "decreasing timestamp", "undated", "repeated"
"""What can be wrong with a signed date: the values of `Verdict.date`."""
REPLAY_SECONDS = 3600
"""How long something signed is known again (MSG-86): the interval of RFC 3893 section 10."""
GRACE_SECONDS = 600.0
"""For how long after an outage of ours what is old may have waited for us (MSG-85)."""


def staleness(stated: float, now: float) -> str:
    """Empty for a signed date that is fresh, else what is wrong with it, as RFC 3923 section 6.9 calls it. Both are POSIX seconds.

    >>> staleness(1000, 1300), staleness(1000, 1300.5), staleness(1301, 1000)
    ('', 'old timestamp', 'future timestamp')
    """
    if stated < now - MOST_OFF_SECONDS:
        return OLD
    return FUTURE if stated > now + MOST_OFF_SECONDS else ""
