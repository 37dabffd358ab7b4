"""RFC 3339 and SIP dates."""

from __future__ import annotations

import locale
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.dates import format_rfc3339, format_sip_date, parse_rfc3339, parse_sip_date
from gateway.core.errors import SyntaxFault


def utc(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.requirement("DATE-01", "DATE-02", "DATE-03")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # RFC 3339 section 5.8
        ("1985-04-12T23:20:50.52Z", utc(1985, 4, 12, 23, 20, 50, 520000)),
        ("1996-12-19T16:39:57-08:00", utc(1996, 12, 20, 0, 39, 57)),
        ("1990-12-31T23:59:60Z", utc(1991, 1, 1)),
        ("1990-12-31T15:59:60-08:00", utc(1991, 1, 1)),
        ("1937-01-01T12:00:27.87+00:20", utc(1937, 1, 1, 11, 40, 27, 870000)),
        # ends of the rules
        ("2012-06-30T23:59:60Z", utc(2012, 7, 1)),
        ("2024-02-29T00:00:00Z", utc(2024, 2, 29)),
        ("2026-01-02t03:04:05z", utc(2026, 1, 2, 3, 4, 5)),
        ("2026-01-02 03:04:05Z", utc(2026, 1, 2, 3, 4, 5)),
        ("2026-01-02T03:04:05-00:00", utc(2026, 1, 2, 3, 4, 5)),
        ("2026-01-02T03:04:05+23:59", utc(2026, 1, 1, 3, 5, 5)),
        ("2026-01-02T03:04:05.941Z", utc(2026, 1, 2, 3, 4, 5, 941000)),
        ("2026-01-02T03:04:05.1234567890123+05:30", utc(2026, 1, 1, 21, 34, 5, 123456)),
        ("2026-01-02T03:04:05." + "9" * 5000 + "Z", utc(2026, 1, 2, 3, 4, 5, 999999)),
    ],
)
def test_a_date_time_is_read_as_utc(text: str, expected: datetime) -> None:
    found = parse_rfc3339(text)
    assert found == expected
    assert found.utcoffset() == expected.utcoffset()


@pytest.mark.requirement("DATE-01", "DATE-03")
@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29T00:00:00Z",
        "2023-04-31T00:00:00Z",
        "2023-00-01T00:00:00Z",
        "2023-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:60:00Z",
        "2026-01-02T03:04:61Z",
        "2026-01-02T23:59:60Z",
        "2026-03-31T23:59:60Z",
        "2026-09-30T23:59:60Z",
        "2026-06-29T23:59:60Z",
        "2026-12-30T23:59:60Z",
        "2026-07-01T23:59:60Z",
        "1990-12-31T23:59:60-08:00",
        "1990-12-31T22:59:60Z",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+05:60",
        "2026-01-02T03:04:05+0530",
        "2026-01-02",
        "20260102T030405Z",
        "2026-1-2T03:04:05Z",
        "2026-01-02_03:04:05Z",
        " 2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
        "２０２６-01-02T03:04:05Z",
        "2026-01-02T03:04:0٥Z",
        "",
        "Z",
        "9999-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:60Z",
    ],
)
def test_what_is_no_date_time_is_refused(text: str) -> None:
    with pytest.raises(SyntaxFault):
        parse_rfc3339(text)


@pytest.mark.requirement("DATE-02")
def test_a_space_for_the_t_is_read_leniently_only() -> None:
    with pytest.raises(SyntaxFault):
        parse_rfc3339("2026-01-02 03:04:05Z", strict=True)
    assert parse_rfc3339("2026-01-02t03:04:05z", strict=True) == utc(2026, 1, 2, 3, 4, 5)


@pytest.mark.requirement("DATE-02", "DATE-04")
@pytest.mark.parametrize(
    ("posix", "expected"),
    [
        (1770110160, "2026-02-03T09:16:00Z"),
        (1770110160.0, "2026-02-03T09:16:00Z"),
        (1770110160.25, "2026-02-03T09:16:00.250Z"),
        (1770110160.001, "2026-02-03T09:16:00.001Z"),
        (1770110160.0004, "2026-02-03T09:16:00Z"),
        (1770110159.9996, "2026-02-03T09:16:00Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-0.5, "1969-12-31T23:59:59.500Z"),
        (-62135596800, "0001-01-01T00:00:00Z"),
    ],
)
def test_a_date_time_is_written_in_utc(posix: float, expected: str) -> None:
    assert format_rfc3339(posix) == expected


@settings(deadline=None)
@given(st.integers(-62135596800_000, 253402300799_000))
def test_a_written_date_time_is_read_back_to_the_millisecond(millis: int) -> None:
    text = format_rfc3339(millis / 1000)
    assert round(parse_rfc3339(text, strict=True).timestamp() * 1000) == millis


@pytest.mark.parametrize("posix", [float("nan"), float("inf"), 1e18, -1e18, 1e300])
def test_a_date_that_no_calendar_has_is_refused(posix: float) -> None:
    with pytest.raises(SyntaxFault):
        format_rfc3339(posix)
    with pytest.raises(SyntaxFault):
        format_sip_date(posix)


@pytest.mark.requirement("DATE-05")
@pytest.mark.parametrize(
    ("date_time", "sip_date"),
    [
        ("2010-11-13T23:29:00Z", "Sat, 13 Nov 2010 23:29:00 GMT"),
        ("2026-01-02T03:04:05.999Z", "Fri, 02 Jan 2026 03:04:05 GMT"),
        ("2026-01-02T03:04:05+05:30", "Thu, 01 Jan 2026 21:34:05 GMT"),
        ("2000-12-13T13:40:00-08:00", "Wed, 13 Dec 2000 21:40:00 GMT"),
        ("1969-12-31T23:59:59.5Z", "Wed, 31 Dec 1969 23:59:59 GMT"),
        ("1990-12-31T23:59:60Z", "Tue, 01 Jan 1991 00:00:00 GMT"),
    ],
)
def test_a_sip_date_is_the_date_time_cut_to_the_second(date_time: str, sip_date: str) -> None:
    assert format_sip_date(parse_rfc3339(date_time).timestamp()) == sip_date


@pytest.mark.requirement("DATE-05")
def test_a_sip_date_is_read_and_written_on_as_a_date_time() -> None:
    assert parse_sip_date("Sat, 13 Nov 2010 23:29:00 GMT") == 1289690940.0
    assert format_rfc3339(parse_sip_date("Fri, 02 Jan 2026 03:04:05 GMT")) == "2026-01-02T03:04:05Z"


def test_the_day_of_the_week_is_not_held_against_the_date() -> None:
    assert parse_sip_date("Mon, 13 Nov 2010 23:29:00 GMT") == 1289690940.0


@pytest.mark.parametrize(
    "text",
    [
        "Fri, 01 Jan 2010 16:00:00 EST",
        "Fri, 01 Jan 2010 16:00:00 gmt",
        "fri, 01 Jan 2010 16:00:00 GMT",
        "Fri, 01 jan 2010 16:00:00 GMT",
        "Fri, 1 Jan 2010 16:00:00 GMT",
        "Fri, 01 Jan 10 16:00:00 GMT",
        "Fri 01 Jan 2010 16:00:00 GMT",
        "Fri,  01 Jan 2010 16:00:00 GMT",
        "Fri, 30 Feb 2010 16:00:00 GMT",
        "Fri, 01 Jan 2010 24:00:00 GMT",
        "Fri, 01 Jan 2010 16:00:60 GMT",
        "Fri, 01 Jan 0000 16:00:00 GMT",
        "Xxx, 01 Jan 2010 16:00:00 GMT",
        "Fri, 01 Xxx 2010 16:00:00 GMT",
        "Fri, 01 Jan 2010 16:00:00 +0000",
        "",
    ],
)
def test_what_is_no_sip_date_is_refused(text: str) -> None:
    with pytest.raises(SyntaxFault):
        parse_sip_date(text)


@settings(deadline=None)
@given(st.integers(-62135596800, 253402300799))
def test_a_written_sip_date_is_read_back(posix: int) -> None:
    assert parse_sip_date(format_sip_date(posix)) == posix


def test_dates_do_not_follow_the_locale() -> None:
    before = locale.setlocale(locale.LC_TIME)
    others = [name for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "sl_SI.UTF-8", "C.UTF-8") if _has_locale(name)]
    try:
        for name in others:
            locale.setlocale(locale.LC_TIME, name)
            assert format_sip_date(1289690940) == "Sat, 13 Nov 2010 23:29:00 GMT"
            assert parse_sip_date("Sat, 13 Nov 2010 23:29:00 GMT") == 1289690940
    finally:
        locale.setlocale(locale.LC_TIME, before)
    assert others


def _has_locale(name: str) -> bool:
    before = locale.setlocale(locale.LC_TIME)
    try:
        locale.setlocale(locale.LC_TIME, name)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_TIME, before)
    return True
