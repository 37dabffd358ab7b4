"""A message in the forms that its recipient takes, and what he is asked, as he sees it: over UDP."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from gateway.core.address import SipAddress
from gateway.core.canonical import entity_message, failure_message, notification_message
from gateway.core.envelope import Envelope, RequestOrigin, StanzaOrigin
from gateway.core.errors import Refusal
from gateway.core.imdn import POSITIVE, Asked, Disposition
from gateway.core.mime import Entity
from gateway.core.outcome import DELIVERED, Outcome, Verdict
from gateway.core.settings import RouteRule
from gateway.core.uri import Uri
from gateway.core.verdict import NOT_CHECKED
from gateway.sip import questions as questions_module
from gateway.sip.bodies import Body
from gateway.sip.codec import Draft
from gateway.sip.locate import NotFoundError
from gateway.sip.redirect import Place, Trail
from gateway.sip.takes import UNKNOWN, Takes
from tests.sip.rig import ROMEO, Try, header, headers, param, response, settings
from tests.sip.test_adapter import LIMIT, QUICK, Phone, Side, both, ended, phone, run, settled, side, until
from tests.sip.test_redirects_on_the_wire import NEW, redirected, sequence, start, two

ASKING = frozenset((POSITIVE,))


def asking(it: Side, number: int = 5) -> Try:
    """Send a message of juliet's that asks for a receipt."""
    origin = StanzaOrigin("id", "chat", "juliet@xmpp.example/balcony", "romeo@sip.example")
    envelope = replace(it.letter(number).envelope, asked=ASKING, origin=origin)
    delivery = Try(1, number, envelope, it.adapter.translate(envelope, number), again=it.adapter.send)
    it.adapter.send(delivery)
    return delivery


def notice(it: Side) -> Envelope:
    """Juliet has read a message of romeo's."""
    one = it.letter().envelope
    asked = Asked(frozenset(("display",)), "m1", "2026-01-02T03:04:05Z", ROMEO)
    return replace(one, message=notification_message(one.sender, one.recipient, 0, "n1", asked, Disposition.DISPLAYED))


async def refused(romeo: Phone, accept: str = "") -> bytes:
    """Answer his next request with 415; returns it."""
    asked = await romeo.came.next(LIMIT)
    romeo.reply(response(asked, 415, "No", **({"accept": accept} if accept else {})))
    return asked


def kind(octets: bytes) -> str:
    return header(octets, "Content-Type").partition(";")[0]


# -- forms ----------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ICPIM-34", "SIP-104")
def test_the_same_message_goes_in_plain_text() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            delivery = asking(it)
            first = await refused(romeo)
            again = await romeo.came.next(LIMIT)
            assert (kind(first), kind(again)) == ("message/cpim", "text/plain")
            assert again.endswith(b"\r\n\r\nhi")
            for name in ("From", "To", "Call-ID"):
                assert header(again, name) == header(first, name)
            assert sequence(again) == sequence(first) + 1
            assert param(header(again, "Via"), "branch") != param(header(first, "Via"), "branch")
            romeo.reply(response(again))
            assert await ended(delivery) == DELIVERED
            # The names by which news finds it stay, among them the one that a 200 of a trusted route needs.
            assert delivery.rewrites == 1
            assert [trace[0] for trace in delivery.parcel.traces] == ["imdn id", "call-1 5"]

    run(talk)


@pytest.mark.requirement("ICPIM-34", "SIP-104")
def test_a_route_that_always_wants_cpim_gets_nothing_else() -> None:
    async def talk() -> None:
        async with both(cpim="always") as (it, romeo):
            delivery = asking(it)
            await refused(romeo)
            assert await ended(delivery) == Outcome(Verdict.FAILED, 415, "No")
            assert romeo.came.waiting == []

    run(talk)


@pytest.mark.requirement("FRAG-46", "SIP-104")
def test_each_form_is_tried_once_whatever_the_answers_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """One who says each time that he takes what he refused before cannot have a message sent for ever."""

    def three(*_: object) -> list[Body]:
        return [Body("sipfrag", "multipart/mixed", b"1"), Body("cpim", "message/cpim", b"2"), Body("", "text/plain", b"3")]

    async def talk() -> None:
        async with both() as (it, romeo):
            delivery = it.send()
            assert kind(await refused(romeo, "message/cpim")) == "multipart/mixed"
            assert kind(await refused(romeo, "multipart/mixed, message/sipfrag")) == "message/cpim"
            assert kind(await refused(romeo, "message/cpim, message/sipfrag")) == "text/plain"
            assert await ended(delivery) == Outcome(Verdict.FAILED, 415, "No")
            await settled()
            assert romeo.came.waiting == []

    monkeypatch.setattr("gateway.sip.codec.bodies", three)
    run(talk)


@pytest.mark.requirement("FRAG-46")
def test_a_report_that_is_refused_as_sipfrag_goes_as_text_and_so_does_the_next_one() -> None:
    async def talk() -> None:
        async with both(failure_report="sipfrag") as (it, romeo):
            one = it.letter().envelope
            message = failure_message(one.sender, one.recipient, 0, 404, "Nobody")
            about = RequestOrigin("sip:juliet@xmpp.example", "call-1", "1 MESSAGE")
            envelope = replace(one, message=message, about=about)
            for number, kinds in ((5, ["multipart/mixed", "text/plain"]), (9, ["text/plain"])):
                delivery = Try(1, number, envelope, it.adapter.translate(envelope, number), again=it.adapter.send)
                it.adapter.send(delivery)
                for expected in kinds[:-1]:
                    assert kind(await refused(romeo)) == expected
                last = await romeo.came.next(LIMIT)
                assert kind(last) == kinds[-1]
                assert b"\r\n\r\nYour message to sip:juliet@xmpp.example could not be delivered: 404" in last
                romeo.reply(response(last))
                assert await ended(delivery) == DELIVERED
            assert it.peers.takes(envelope.recipient) == Takes(sipfrag=False)  # type: ignore[arg-type]

    run(talk)


@pytest.mark.requirement("ICPIM-34", "ERR-S415")
@pytest.mark.parametrize(
    ("accept", "kinds", "learned"),
    [
        (
            "text/html, text/plain",
            ["message/cpim", "multipart/alternative"],
            Takes(cpim=False, imdn=False, typing=False, html=True, sipfrag=False),
        ),
        ("message/cpim", ["message/cpim", "message/cpim"], Takes(cpim=True, typing=False, html=False, sipfrag=False)),
        ("text/plain", ["message/cpim", "text/plain"], Takes(cpim=False, imdn=False, typing=False, html=False, sipfrag=False)),
        ("", ["message/cpim", "message/cpim", "text/plain"], Takes(cpim=False, html=False)),
    ],
)
def test_markup_in_cpim_goes_on_in_what_the_accept_leaves_of_both(accept: str, kinds: list[str], learned: Takes) -> None:
    async def talk() -> None:
        async with both(html=True) as (it, romeo):
            one = it.letter().envelope
            entity = Entity.compose((("Content-Type", "text/html"),), b"<p>so <b>bold</b></p>")
            envelope = replace(one, asked=ASKING, message=entity_message(one.sender, one.recipient, entity, 0))
            delivery = Try(1, 5, envelope, it.adapter.translate(envelope, 5), again=it.adapter.send)
            it.adapter.send(delivery)
            for expected in kinds[:-1]:
                assert kind(await refused(romeo, accept)) == expected
            last = await romeo.came.next(LIMIT)
            assert kind(last) == kinds[-1]
            romeo.reply(response(last))
            assert await ended(delivery) == DELIVERED
            assert it.peers.takes(envelope.recipient) == learned  # type: ignore[arg-type]

    run(talk)


@pytest.mark.requirement("SIP-103", "ICPIM-34")
def test_a_place_that_it_was_redirected_to_gets_the_form_that_it_takes_and_the_rest_of_the_way_as_well() -> None:
    async def talk() -> None:
        async with two() as (it, first, second):
            # What is pinned counts for other messages: this one was refused in that form.
            it.peers.pin(it.letter().envelope.recipient, {"cpim": True})  # type: ignore[arg-type]
            delivery = asking(it)
            await redirected(first, f"{NEW};q=0.9, <sip:third@second.example>;q=0.1")
            one = await refused(second)
            assert kind(one) == "message/cpim"
            again = await second.came.next(LIMIT)
            assert (start(again), kind(again)) == (start(one), "text/plain")
            second.reply(response(again, 404, "Nobody"))
            third = await second.came.next(LIMIT)
            assert (start(third), kind(third)) == ("MESSAGE sip:third@second.example SIP/2.0", "text/plain")
            second.reply(response(third))
            assert await ended(delivery) == DELIVERED
            assert it.peers.forget(delivery.envelope.recipient)  # type: ignore[arg-type]

    run(talk)


def test_the_time_until_a_form_is_refused_counts_for_the_way() -> None:
    async def talk() -> None:
        async with side() as it:
            delivery = asking(it)
            place = Place(Uri.parse(ROMEO), delivery.parcel.gate)
            moved = it.codec.moved(delivery.parcel, delivery.envelope, Trail((place,), 32.0))
            again = it.codec.rewritten(moved, delivery.envelope, ("cpim", "message/cpim"), 30.0)
            assert isinstance(again.wire, Draft)
            assert again.wire.trail == Trail((place,), 2.0)
            assert again.wire.refused == (("cpim", "message/cpim"),)

    run(talk)


def test_what_was_written_before_it_was_known_goes_as_it_is_taken_now_but_a_repeat_stays_as_it_was() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            envelope = replace(it.letter().envelope, asked=ASKING)
            for repeat, expected in ((False, "text/plain"), (True, "message/cpim")):
                it.peers.forget(envelope.recipient)  # type: ignore[arg-type]
                delivery = Try(1, 5, envelope, it.adapter.translate(envelope, 5), repeat)
                it.peers.pin(envelope.recipient, {"cpim": False})  # type: ignore[arg-type]
                it.adapter.send(delivery)
                came = await romeo.came.next(LIMIT)
                assert kind(came) == expected
                romeo.reply(response(came))
                await ended(delivery)

    run(talk)


@pytest.mark.requirement("ERR-S415")
def test_a_notification_that_is_not_taken_is_not_sent() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            envelope = notice(it)
            delivery = Try(1, 5, envelope, it.adapter.translate(envelope, 5))
            it.adapter.send(delivery)
            assert b"imdn" in await refused(romeo)
            assert (await ended(delivery)).status == 415
            assert it.peers.takes(envelope.recipient) == Takes(imdn=False)  # type: ignore[arg-type]
            # One that was written before that is not sent any more, and the next one is not even kept.
            late = Try(1, 6, envelope, delivery.parcel)
            it.adapter.send(late)
            assert (await ended(late)).verdict is Verdict.FAILED
            with pytest.raises(Refusal, match="type-unsupported"):
                it.adapter.translate(envelope, 7)
            await settled()
            assert romeo.came.waiting == []

    run(talk)


# -- OPTIONS --------------------------------------------------------------------------------------------------------------
def wonder(it: Side, to: str = "romeo") -> None:
    """Have something to say to him that goes only to who is known to take it."""

    def unknown(*_: object) -> None:
        raise Refusal("typing-unknown")

    envelope = it.letter(to=to).envelope
    it.codec.write, write = unknown, it.codec.write  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(Refusal, match="typing-unknown"):
            it.adapter.translate(envelope, 0)
    finally:
        it.codec.write = write  # type: ignore[method-assign]


def test_he_is_asked_once_over_his_next_hop_and_his_accept_is_learned() -> None:
    async def talk() -> None:
        async with both(gr=False) as (it, romeo):
            wonder(it)
            asked = await romeo.came.next(LIMIT)
            assert start(asked) == f"OPTIONS {ROMEO} SIP/2.0"
            assert header(asked, "From").startswith("<sip:gw.example>;tag=")
            assert header(asked, "To") == f"<{ROMEO}>"
            assert header(asked, "CSeq") == "1 OPTIONS"
            assert (header(asked, "Max-Forwards"), header(asked, "Accept")) == ("70", "application/sdp")
            assert (headers(asked, "Contact"), headers(asked, "Content-Type"), header(asked, "Content-Length")) == ([], [], "0")
            romeo.reply(response(asked, accept="text/plain, application/im-iscomposing+xml"))
            me = it.letter().envelope.recipient
            await until(lambda: it.peers.takes(me) != UNKNOWN)  # type: ignore[arg-type]
            assert it.peers.takes(me) == Takes(typing=True)  # type: ignore[arg-type]
            wonder(it)
            await settled()
            assert romeo.came.waiting == []

    run(talk)


@pytest.mark.parametrize("status", [405, 415, 481, 501, 503, 302])
def test_any_other_answer_and_none_teaches_nothing_and_he_is_not_asked_again(status: int) -> None:
    async def talk() -> None:
        async with both(timers=QUICK) as (it, romeo):
            wonder(it)
            asked = await romeo.came.next(LIMIT)
            romeo.reply(response(asked, status, "No", accept="*/*", retry_after="60"))
            wonder(it, to="tomas")
            assert start(await romeo.came.next(LIMIT)).startswith("OPTIONS sip:tomas@")
            while romeo.came.waiting or len(it.adapter._endpoint.clients):
                # Timer F of the one that nobody answers.
                await asyncio.sleep(0.01)
                romeo.came.waiting.clear()
            wonder(it)
            wonder(it, to="tomas")
            await settled()
            assert romeo.came.waiting == []
            assert it.peers.rows() == []
            assert it.adapter._questions._open == 0

    run(talk)


def test_only_so_many_are_asked_at_once_and_a_connection_that_ends_lets_others_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions_module, "MOST_ASKED", 2)

    async def talk() -> None:
        taken: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _ in range(2):
                await reader.readuntil(b"\r\n\r\n")
            taken.put_nowait(writer)

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with side(settings(RouteRule("*", f"sip:127.0.0.1:{port};transport=tcp"))) as it:
            for number in range(4):
                wonder(it, to=f"s{number}")
            writer = await asyncio.wait_for(taken.get(), LIMIT)
            assert it.adapter._questions._open == 2
            writer.close()
            await until(lambda: it.adapter._questions._open == 0)
            wonder(it, to="s3")
            assert it.adapter._questions._open == 1
        server.close()

    run(talk)


def test_nobody_is_asked_at_a_hop_that_wants_us_to_wait_or_cannot_be_found() -> None:
    async def talk() -> None:
        async with both() as (it, romeo):
            delivery = it.send()
            romeo.reply(response(await romeo.came.next(LIMIT), 503, "Later", retry_after="60"))
            await ended(delivery)
            wonder(it)
            await until(lambda: it.adapter._questions._open == 0)
            assert romeo.came.waiting == []
            # It was not for him to say, so he may be asked when that is over.
            assert it.peers.may_ask(delivery.envelope.recipient)  # type: ignore[arg-type]
        async with side(settings(RouteRule("*", "sip:127.0.0.1:9;transport=tls"))) as it:
            wonder(it)
            await until(lambda: it.adapter._questions._open == 0)

    run(talk)


@pytest.mark.parametrize("is_temporary", [True, False])
def test_where_dns_did_not_answer_he_may_be_asked_after_a_minute(is_temporary: bool) -> None:
    async def talk() -> None:
        lookups = 0

        async def locate(_: object) -> NoReturn:
            nonlocal lookups
            lookups += 1
            raise NotFoundError("DNS is away", temporary=is_temporary)

        async with side(settings(RouteRule("*", "sip:proxy.example"))) as it:
            it.adapter._locator.locate = locate  # type: ignore[method-assign,assignment]
            clock, later = it.peers._clock, [0.0]
            it.peers._clock = lambda: clock() + later[0]
            for seconds, expected in ((0.0, 1), (50.0, 1), (61.0, 1 + is_temporary), (110.0, 1 + is_temporary)):
                later[0] = seconds
                wonder(it)
                await until(lambda: it.adapter._questions._open == 0)
                assert lookups == expected

    run(talk)


def test_an_options_of_ours_that_comes_back_is_refused_as_any_other() -> None:
    async def talk() -> None:
        async with phone() as romeo, side(settings(RouteRule("*", f"sip:127.0.0.1:{romeo.port}"))) as it:
            wonder(it)
            asked = await romeo.came.next(LIMIT)
            lines = asked.split(b"\r\n")
            mine = b"Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bKproxy" % romeo.port
            assert b" 482 " in await romeo.ask(it, b"\r\n".join([lines[0], mine, *lines[1:]]))

    run(talk)


# -- what is signed or encrypted ------------------------------------------------------------------------------------------
@pytest.mark.requirement("SMIME-37")
@pytest.mark.parametrize("kind_of", ["application/pkcs7-mime; smime-type=enveloped-data", "multipart/signed; boundary=b"])
def test_a_protected_message_that_is_refused_is_sent_in_no_other_form_and_the_next_one_neither(kind_of: str) -> None:
    """A 415 may be somebody's who wants to read it: it fails, that is said, and the next one goes out protected as well."""

    async def talk() -> None:
        async with both() as (it, romeo):
            letter = it.letter().envelope
            entity = Entity.compose([("Content-Type", kind_of)], b"--b\r\n\r\nsecret\r\n--b--")
            protected = replace(letter, message=entity_message(letter.sender, letter.recipient, entity, 0), verdict=NOT_CHECKED)
            for seq in (1, 2):
                delivery = Try(seq, seq, protected, it.adapter.translate(protected, seq), again=it.adapter.send)
                it.adapter.send(delivery)
                asked = await refused(romeo, "text/plain")
                assert (header(asked, "Content-Type"), asked.partition(b"\r\n\r\n")[2]) == (kind_of, entity.content)
                assert await ended(delivery) == Outcome(Verdict.FAILED, 415, "No")
            await settled()
            assert romeo.came.waiting == []
            assert it.peers.takes(SipAddress("romeo", "sip.example")).smime is None

    with capture_logs() as logged:
        run(talk)
    assert len([line for line in logged if line["log_level"] == "warning" and "not sent without its protection" in line["event"]]) == 2
