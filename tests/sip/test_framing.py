"""Cutting a stream into messages and keep-alives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip import writer
from gateway.sip.framing import Bad, Framed, Last, Ping, Pong, StreamFramer
from gateway.sip.message import Limits
from tests.cost import LINEAR, growth, seconds
from tests.sip.sample import RESPONSE_ROWS, ROWS, START, changed, octets, rows, verdict

MESSAGE = octets()
EMPTY = octets(rows(content_length="0"), b"")
RESPONSE = octets(RESPONSE_ROWS, b"", b"SIP/2.0 202 Accepted")


def cut(data: bytes, *sizes: int) -> list[Framed]:
    """All items of a stream that comes in pieces of these sizes, again and again."""
    framer, items, at, turn = StreamFramer(), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)] if sizes else len(data)
        items += framer.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    return items


def shown(items: list[Framed]) -> list[object]:
    """Items that can be compared: a fault by its status, reason and what an answer would say."""

    def one(item: Framed) -> object:
        if not isinstance(item, Bad):
            return item
        fault = item.fault
        return (fault.status, fault.what, fault.partial and writer.response(fault.partial, 400, "x", to_tag="x"))

    return [one(item) for item in items]


def closed(data: bytes) -> str:
    """Status and reason with which a stream ends; "dropped" in front where there is nobody to tell."""
    framer = StreamFramer()
    items = framer.feed(data)
    assert framer.state == "closed"
    assert framer.feed(MESSAGE) == []
    last = items[-1]
    assert isinstance(last, Bad)
    return f"{last.fault.status} {last.fault.what}" if last.fault.partial else f"dropped {last.fault.what}"


@pytest.mark.requirement("SIP-43", "MSG-38")
def test_several_messages_in_one_read() -> None:
    assert cut(MESSAGE + EMPTY + RESPONSE + MESSAGE[:-1]) == [MESSAGE, EMPTY, RESPONSE]
    assert cut(MESSAGE * 3, len(MESSAGE) + 3) == [MESSAGE] * 3


@pytest.mark.requirement("SIP-42")
@pytest.mark.parametrize(
    ("data", "items"),
    [
        (b"\r\n", [Pong()]),
        (b"\r\n\r\n", [Pong(), Ping()]),
        (b"\r\n\r\n\r\n", [Pong(), Ping(), Pong()]),
        (b"\r\n" * 4, [Pong(), Ping()] * 2),
        (b"\r", []),
        (b"\r\n" + MESSAGE, [Pong(), MESSAGE]),
        (b"\r\n\r\n" + MESSAGE, [Pong(), Ping(), MESSAGE]),
        (MESSAGE + b"\r\n\r\n" + MESSAGE, [MESSAGE, Pong(), Ping(), MESSAGE]),
        (MESSAGE + b"\r\n" + EMPTY + b"\r\n", [MESSAGE, Pong(), EMPTY, Pong()]),
    ],
)
def test_keep_alives_between_messages(data: bytes, items: list[Framed]) -> None:
    for size in (1, 2, 3, len(data)):
        assert cut(data, size) == items


@pytest.mark.requirement("SIP-41", "SIP-43", "TOR-05")
@given(st.data())
@settings(deadline=None)
def test_any_pieces_give_the_same_items(data: st.DataObject) -> None:
    parts = [
        MESSAGE, EMPTY, RESPONSE, b"\r\n", b"\r\n\r\n", changed(content_length=None), changed(content_length="x"),
        octets([*ROWS, ("l", "5")]), b"\0",
        MESSAGE.replace(b"CSeq: 1", b"CSeq: \n1"), octets([*ROWS, *[("X", "y")] * 70]), octets(start=b"M  SIP/2.0"),
        octets(rows(content_length="70000")), octets(RESPONSE_ROWS[:-1], b"", b"SIP/2.0 202 Accepted"),
        changed(content_length="\r\n 5"), octets([*ROWS, ("X", "y" * 16_300)]),
    ]  # fmt: skip
    stream = b"".join(data.draw(st.lists(st.sampled_from(parts), max_size=6)))
    sizes = data.draw(st.lists(st.sampled_from([1, 2, 3, 7, 50, 1000, 9999]), min_size=1, max_size=5))
    assert shown(cut(stream, *sizes)) == shown(cut(stream))


@given(st.binary(max_size=200), st.integers(1, 50))
@settings(deadline=None)
def test_any_octets_in_any_pieces(noise: bytes, size: int) -> None:
    for stream in (noise, START + b"\r\n" + noise, MESSAGE + noise, MESSAGE[:100] + noise + MESSAGE):
        assert shown(cut(stream, size)) == shown(cut(stream))


@pytest.mark.requirement("SIP-41", "SEC-26")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (changed(content_length=None), "400 Missing Content-Length"),
        (octets([*ROWS, ("l", "5")]), "400 Repeated Content-Length"),
        (octets([*ROWS, ("CONTENT-LENGTH", "6")]), "400 Repeated Content-Length"),
        (changed(content_length="-5"), "400 Bad Content-Length"),
        (changed(content_length="5, 5"), "400 Bad Content-Length"),
        (changed(content_length="5 5"), "400 Bad Content-Length"),
        (changed(content_length="5\r\n 5"), "400 Bad Content-Length"),
        (changed(content_length=""), "400 Bad Content-Length"),
        (changed(content_length="0x5"), "400 Bad Content-Length"),
        (changed(content_length="\x0b5"), "400 Bad Content-Length"),
        (changed(content_length="99999999999"), "400 Bad Content-Length"),
        (octets(rows(via=None, content_length=None)), "dropped Missing Content-Length"),
        (octets([*RESPONSE_ROWS[:-1], ("l", "x")], b"", b"SIP/2.0 200 OK"), "dropped Bad Content-Length"),
        (octets([*RESPONSE_ROWS, ("l", "0")], b"", b"SIP/2.0 200 OK"), "dropped Repeated Content-Length"),
        (octets(rows(cseq="1 ACK", content_length=None), start=START.replace(b"MESSAGE", b"ACK")), "dropped Missing Content-Length"),
    ],
)
def test_an_odd_length_ends_the_stream(data: bytes, said: str) -> None:
    assert closed(data) == said


@pytest.mark.requirement("SIP-41", "SEC-26")
@pytest.mark.parametrize("start", [b"SIP/2.0 200 OK", b"sip/2.0 100 Trying"])
def test_a_response_without_a_length_is_the_last_that_is_read(start: bytes) -> None:
    response = octets(RESPONSE_ROWS[:-1], b"", start)
    for behind in (b"", b"body", RESPONSE, b"\r\n\r\n"):
        for size in (1, 7, 10_000):
            assert cut(MESSAGE + response + behind, size) == [MESSAGE, Last(response)]
    assert verdict(response, stream=True) == "ok"
    assert verdict(response + b"body", stream=True) == "dropped Missing Content-Length"


@pytest.mark.requirement("SEC-26", "SEC-29", "SIP-08")
@pytest.mark.parametrize(
    "row",
    [
        b"X: a\nb",
        b"X: a\rb",
        b"X",
        b"X Y: z",
        b"Content-Length\x0b: 50",
        b": y",
        b"X: a\n",
        b"\xc3\xa9: y",
        b"X: y\n\r\n\n",
    ],
)
def test_rows_that_others_may_read_otherwise_end_the_stream(row: bytes) -> None:
    assert closed(MESSAGE.replace(b"\r\nContent-Type", b"\r\n" + row + b"\r\nContent-Type")).startswith("400 ")


def test_a_fold_behind_the_start_line_ends_the_stream() -> None:
    assert closed(START + b"\r\n Content-Length: 50" + MESSAGE[len(START) :]) == "400 Bad header line"


@pytest.mark.requirement("SIP-45")
@pytest.mark.parametrize("noise", [b"\0", b"\x16\x03\x01\x02", b" ", b"\n", b"\r\r", b"\xff\xff", b":"])
def test_what_is_no_sip_ends_the_stream_at_once(noise: bytes) -> None:
    assert closed(noise + bytes(3)) == "dropped Not SIP"
    assert closed(MESSAGE + noise + bytes(3)) == "dropped Not SIP"


@pytest.mark.requirement("SIP-43", "TOR-05")
@pytest.mark.parametrize(
    "data",
    [
        octets(start=b"MESSAGE sip:romeo@gw.example.net; lr SIP/2.0"),
        octets(start=b"MESSAGE sip:romeo@gw.example.net SIP/7.0"),
        octets([*ROWS, ("From", "x")]),
        changed(via="SIP/2.0/UDP client.example.org;;"),
        changed(cseq="x"),
        octets(RESPONSE_ROWS, b"", b"SIP/2.0 4294967301 no"),
        changed(X='"\\\0"'),
    ],
)
def test_other_faults_do_not_end_the_stream(data: bytes) -> None:
    assert cut(data + MESSAGE) == [data, MESSAGE]


@pytest.mark.requirement("SIP-01", "SIP-08")
@pytest.mark.parametrize("length", ["5", " 5 ", "\t0005", "\r\n 5", "\r\n \r\n\t5\r\n ", "0000000000000005"])
def test_every_way_to_write_the_length(length: str) -> None:
    for name in ("Content-Length", "content-length", "l", "L", "l \t"):
        data = octets([*ROWS[:-1], (name, length)])
        assert cut(data + MESSAGE) == [data, MESSAGE]
        assert verdict(data, stream=True) == "ok"


def test_a_length_in_a_folded_value_is_no_row() -> None:
    data = octets([("Subject", "a\r\n Content-Length: 50"), *ROWS])
    assert cut(data + MESSAGE) == [data, MESSAGE]


@pytest.mark.requirement("SIP-30", "SEC-35")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (octets([*ROWS, ("X", "y" * 20_000)]), "513 Message Too Large"),
        (START + b"\r\n" + b"x" * 20_000, "dropped Message Too Large"),
        (b"x" * 20_000, "dropped Not SIP"),
        (START + b"x" * 20_000, "dropped Not SIP"),
        (octets(rows(content_length="65536"), b""), "413 Request Entity Too Large"),
        (octets([*ROWS, *[("X", "y")] * 65]), "513 Message Too Large"),
        (octets([*ROWS, *[(f"X{number}", "y") for number in range(1001)]]), "513 Message Too Large"),
        (octets([*ROWS, ("Via", ", ".join(["SIP/2.0/TCP h"] * 70))]), "513 Message Too Large"),
        (octets(rows(content_length="65536"), b"", b"SIP/2.0 200 OK"), "dropped "),
    ],
)
def test_what_is_too_large_ends_the_stream(data: bytes, said: str) -> None:
    assert closed(data).startswith(said)
    for size in (1, 777):
        assert shown(cut(data, size)) == shown(cut(data))


@pytest.mark.requirement("SIP-30", "SIP-43")
@pytest.mark.parametrize("via", ["SIP/2.0/TCP h" + "," * 70, 'SIP/2.0/TCP h;x="' + "," * 70])
def test_a_via_that_cannot_be_read_is_no_reason_to_end_the_stream(via: str) -> None:
    data = octets([("Via", via), *ROWS[1:]])
    assert cut(data + MESSAGE) == [data, MESSAGE]
    without = octets([*ROWS[1:], ("Subject", "," * 70)])
    assert cut(without + MESSAGE) == [without, MESSAGE]


def test_the_largest_that_is_taken() -> None:
    head = octets(rows(content_length="65000"), b"")
    data = octets(rows(content_length=str(65_536 - len(head))), b"x" * (65_536 - len(head)))
    assert len(data) == 65_536
    assert cut(data, 1) == [data]
    assert cut(octets([*ROWS, ("Via", ", ".join(["SIP/2.0/TCP h"] * 69))]) + MESSAGE)[1:] == [MESSAGE]
    small = StreamFramer(Limits(head=100))
    assert isinstance(small.feed(MESSAGE)[0], Bad)


@pytest.mark.requirement("SIP-44", "SEC-37")
def test_the_state_tells_what_is_waited_for() -> None:
    framer = StreamFramer()
    states = []
    for piece in (b"", b"\r\n", b"M", MESSAGE[1:-5], b"hell", b"o", b"\r", b"\nMESS", b"\0 \r\n\r\n"):
        framer.feed(piece)
        states.append(framer.state)
    assert states == ["idle", "idle", "headers", "body", "body", "idle", "idle", "headers", "closed"]


@pytest.mark.requirement("SIP-31", "SIP-43")
def test_octet_by_octet_costs_no_more_than_its_length() -> None:
    def message(octets_of_head: int, octets_of_body: int) -> bytes:
        return octets([*ROWS[:-1], ("X", "y" * octets_of_head), ("Content-Length", str(octets_of_body))], b"z" * octets_of_body)

    def framed(data: bytes) -> list[Framed]:
        framer = StreamFramer()
        return [item for at in range(len(data)) for item in framer.feed(data[at : at + 1])]

    short, long = message(3_500, 12_000), message(15_000, 48_000)
    assert framed(long) == [long]
    assert growth(framed, short, long) < LINEAR
    assert seconds(lambda: framed(long), 2) < 2


@pytest.mark.requirement("SIP-31", "REL-28")
@pytest.mark.parametrize(
    "data",
    [
        b"\r\n" * 32_768,
        START + b"\r\nl:" + b"\r\n " * 5_000,
        START + b"\r\nX: y" * 3_000,
        START + b"\r\nX:" + b"," * 16_000,
        (START + b"\r\nl: 0\r\n\r\n") * 1_000,
    ],
    ids=range(5),
)
def test_nothing_takes_long(data: bytes) -> None:
    assert seconds(lambda: StreamFramer().feed(data), 0.5) < 0.5
