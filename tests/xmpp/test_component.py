"""The component link over a real socket: who is let in, what counts as delivered, and what happens when the server misbehaves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.core.errors import Refusal
from gateway.core.outcome import DELIVERED, LOST, Outcome, Verdict
from gateway.xmpp import component, fence
from gateway.xmpp.codec import XmppCodec
from gateway.xmpp.component import ComponentCarrier
from tests.peers.prosody import Prosody
from tests.xmpp.lonely import DOMAIN, LIMIT, NS, SECRET, Peer, Relay, Sent, Server, deliver, link_to, lonely, soon
from tests.xmpp.test_codec import codec

ERROR = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect at once: how long the waits grow is looked at where they are said."""
    monkeypatch.setattr(component, "_FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(component, "_MOST_RETRY_SECONDS", 0.08)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """All waits for a fence a hundred times shorter."""
    monkeypatch.setattr(component, "_TICK_SECONDS", 0.01)
    for name, seconds in {"AGAIN_SECONDS": 0.05, "LIMIT_SECONDS": 0.6, "IDLE_SECONDS": 0.2}.items():
        monkeypatch.setattr(fence, name, seconds)


@pytest.fixture
def logged() -> Iterator[list[dict[str, object]]]:
    with capture_logs() as lines:
        yield lines  # type: ignore[misc]


def reasons(lines: list[dict[str, object]]) -> list[object]:
    return [line["reason"] for line in lines if line["event"] == "component link is down"]


def message(body: str, **attributes: str) -> str:
    """A stanza of mira to tomas."""
    ends = {"from": "mira@xmpp.example/desk", "to": f"tomas@{DOMAIN}", "id": "m1"} | attributes
    return f"<message {' '.join(f'{key}={value!r}' for key, value in ends.items())}><body>{body}</body></message>"


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something of which nobody tells."""
    async with asyncio.timeout(LIMIT):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def joined(relay: Relay, server: Server) -> Peer:
    """The server's end of a link that is up."""
    peer = await server.peer()
    await peer.accept()
    await relay.up()
    return peer


# -- the handshake -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("XEP-01")
def test_the_link_is_up_when_the_handshake_is_accepted() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await server.peer()
            digest = await peer.open()
            assert peer.header is not None
            assert (peer.header.tag, peer.header.get("to")) == ("{http://etherx.jabber.org/streams}stream", DOMAIN)
            handshake = await peer.next()
            assert (handshake.tag, handshake.text) == (f"{NS}handshake", digest)
            assert not link.up
            assert not link.has_room()
            assert relay.ups.empty()
            peer.write("<handshake/>")
            await relay.up()
            assert link.up
            assert link.has_room()

    asyncio.run(talk())


@pytest.mark.requirement("XEP-01")
def test_the_handshake_of_the_worked_example() -> None:
    """E18: the stream has this id, and the secret is `tiger`."""

    async def talk() -> None:
        async with lonely(secret="tiger") as (_, _relay, server):
            peer = await server.peer()
            await peer.open("3BF96D32")
            handshake = await peer.next()
            assert (handshake.tag, handshake.text, handshake.attrib) == (f"{NS}handshake", "d6c71a2bd51b7db34626ec963dd10836b4c84fea", {})

    asyncio.run(talk())


@pytest.mark.requirement("SEC-45", "REL-08")
@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("not-authorized", "the server refuses the component secret"),
        ("conflict", "the server says that this component is connected already"),
        ("host-unknown", "the server knows no component of this name"),
        ("system-shutdown", "stream error system-shutdown"),
    ],
)
def test_who_is_not_let_in_tries_again(condition: str, said: str, logged: list[dict[str, object]]) -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            for _ in range(2):
                peer = await server.peer()
                await peer.open()
                await peer.next()
                peer.error(condition)
            await joined(relay, server)
            assert link.up

    asyncio.run(talk())
    assert reasons(logged) == [said, said]
    assert SECRET not in str(logged)


@pytest.mark.requirement("REL-08", "SEC-30")
def test_the_waits_grow_until_a_link_has_carried_something(logged: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(component, "_FIRST_RETRY_SECONDS", 1.0)
    monkeypatch.setattr(component, "_MOST_RETRY_SECONDS", 60.0)

    async def talk() -> None:
        async with lonely() as (link, relay, server):
            link.cancel_connection_attempt()
            for _ in range(8):
                link.reschedule_connection_attempt()
                assert link._retry_handle is not None
                link._retry_handle.cancel()
                link._retry_handle = None
            link.open()
            (await joined(relay, server)).close()
            await until(lambda: not link.up)
            assert link._retry_handle is not None
            link._retry_handle.cancel()
            link.open()
            peer = await joined(relay, server)
            deliver(link, 1)
            await peer.next()
            peer.send_back(await peer.next())
            await relay.up()
            peer.close()
            await until(lambda: not link.up)

    asyncio.run(talk())
    waits = [line["retry_in"] for line in logged if line["event"] == "component link is down"]
    for wait, base in zip(waits, (1, 2, 4, 8, 16, 32, 60, 60, 60, 1), strict=True):
        assert isinstance(wait, float)
        assert base <= wait <= base * 1.5


def test_a_server_that_comes_later_is_found(logged: list[dict[str, object]]) -> None:
    async def talk() -> None:
        async with lonely(listening=False) as (_, relay, server):
            await until(lambda: bool(reasons(logged)))
            await server.listen()
            await joined(relay, server)

    asyncio.run(talk())
    assert "Connect call failed" in str(reasons(logged)[0]) or "refused" in str(reasons(logged)[0]).lower()


# -- the fence ---------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-09")
def test_delivered_is_what_a_fence_has_come_back_behind() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            first, second = deliver(link, 1), deliver(link, 2)
            assert [(await peer.next()).get("id") for _ in range(2)] == ["1", "2"]
            fence = await peer.next()
            third = deliver(link, 3)
            assert (await peer.next()).get("id") == "3"
            assert not first.outcome.done()
            peer.send_back(fence)
            assert [await soon(each.outcome) for each in (first, second)] == [DELIVERED, DELIVERED]
            # One fence is out at a time; the next covers what was written meanwhile.
            fence = await peer.next()
            assert not third.outcome.done()
            peer.send_back(fence)
            assert await soon(third.outcome) == DELIVERED

    asyncio.run(talk())


@pytest.mark.requirement("SEC-43", "REL-09")
def test_nothing_else_is_a_fence() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            sent = deliver(link, 1)
            await peer.next()
            fence = await peer.next()
            number = fence.get("id", "")
            nonce = number.rpartition("-")[0]
            for sender, target, wrong in (
                ("mira@xmpp.example", DOMAIN, number),
                (DOMAIN, f"tomas@{DOMAIN}", number),
                ("", "", number),
                (DOMAIN, DOMAIN, f"{nonce}-"),
                (DOMAIN, DOMAIN, "fence-00000000-1"),
                (DOMAIN, DOMAIN, f"{nonce}-0"),
                (DOMAIN, DOMAIN, f"{nonce}-\u0661"),
                (DOMAIN, DOMAIN, ""),
            ):
                peer.write(f"<iq type='result' from='{sender}' to='{target}' id='{wrong}'/>")
            peer.write(f"<message from='{DOMAIN}' to='{DOMAIN}' id='{number}'/>")
            peer.write(message("behind them all"))
            assert await relay.text() == "behind them all"
            assert not sent.outcome.done()
            peer.send_back(fence)
            assert await soon(sent.outcome) == DELIVERED

    asyncio.run(talk())


@pytest.mark.requirement("REL-09", "SEC-43")
def test_an_error_before_the_fence_is_the_outcome_and_one_behind_it_comes_late() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            first, second = deliver(link, 1), deliver(link, 2)
            fence = [await peer.next() for _ in range(3)][-1]
            error = f"<message type='error' from='mira@xmpp.example/a' to='tomas@{DOMAIN}' id='1'>{ERROR}</message>"
            peer.write(error + error.replace("mira", "romeo").replace("id='1'", "id='2'"))
            peer.send_back(fence)
            outcome = await soon(first.outcome)
            assert (outcome.verdict, outcome.status) == (Verdict.FAILED, 404)
            assert await soon(second.outcome) == DELIVERED
            late = await soon(relay.late.get())
            assert late.trace == ("2", f"tomas@{DOMAIN}", "romeo@xmpp.example")
            peer.write(error.replace("id='1'", "id='2'"))
            late = await soon(relay.late.get())
            assert isinstance(late.news, Outcome)
            assert (late.trace, late.news.status) == (("2", f"tomas@{DOMAIN}", "mira@xmpp.example"), 404)

    asyncio.run(talk())


@pytest.mark.requirement("REL-09")
def test_a_link_that_breaks_has_lost_what_no_fence_covers() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            covered = deliver(link, 1)
            await peer.next()
            fence = await peer.next()
            lost = [deliver(link, number) for number in (2, 3)]
            peer.send_back(fence)
            assert await soon(covered.outcome) == DELIVERED
            peer.close()
            assert [await soon(each.outcome) for each in lost] == [LOST, LOST]
            assert deliver(link, 4).outcome.result() == LOST
            # A fence of the old stream counts nothing on the new one.
            peer = await server.peer()
            await peer.accept()
            while not link.up:
                await relay.up()
            again = deliver(link, 2)
            await peer.next()
            new = await peer.next()
            peer.send_back(fence)
            peer.write(message("behind it"))
            assert await relay.text() == "behind it"
            assert not again.outcome.done()
            peer.send_back(new)
            assert await soon(again.outcome) == DELIVERED

    asyncio.run(talk())


@pytest.mark.usefixtures("impatient")
def test_a_fence_that_is_late_is_repeated_and_one_that_never_comes_ends_the_link(logged: list[dict[str, object]]) -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            sent = deliver(link, 1)
            assert (await peer.next()).get("id") == "1"
            first, second = await peer.next(), await peer.next()
            assert first.get("id") != second.get("id")
            assert await soon(sent.outcome) == LOST
            peer = await server.peer()
            await peer.accept()

    asyncio.run(talk())
    assert re.fullmatch("no answer for .* s", str(reasons(logged)[0]))


@pytest.mark.usefixtures("impatient")
@pytest.mark.requirement("REL-09")
def test_a_fence_that_never_comes_ends_the_link_also_where_others_are_heard() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            sent = deliver(link, 1)
            async with asyncio.timeout(LIMIT):
                while not sent.outcome.done():
                    peer.write(message("from others"))
                    await asyncio.sleep(0.01)
            assert sent.outcome.result() == LOST
            await (await server.peer()).accept()

    asyncio.run(talk())


@pytest.mark.usefixtures("impatient")
def test_a_later_fence_covers_what_an_earlier_one_did() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            sent = deliver(link, 1)
            _, _, repeated = [await peer.next() for _ in range(3)]
            peer.send_back(repeated)
            assert await soon(sent.outcome) == DELIVERED

    asyncio.run(talk())


@pytest.mark.usefixtures("impatient")
def test_a_silent_link_is_asked_whether_it_lives() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            for _ in range(6):
                peer.send_back(await peer.next())
            assert link.up

    asyncio.run(talk())


# -- a server that ends the stream -------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-30")
@pytest.mark.parametrize(
    ("octets", "condition"),
    [
        ("<!-- x -->", "restricted-xml"),
        ("<message><?x y?></message>", "restricted-xml"),
        ("</message>", "not-well-formed"),
        ("<message><body>&lol;</body></message>", "not-well-formed"),
        ("\x00", "not-well-formed"),
    ],
    ids=["comment", "instruction", "end", "entity", "control"],
)
def test_a_stream_that_cannot_be_borne_is_ended_and_begun_again(octets: str, condition: str, logged: list[dict[str, object]]) -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            peer.write(message("before") + octets + message("after"))
            assert await relay.text() == "before"
            error = await peer.next()
            assert error.tag == "{http://etherx.jabber.org/streams}error"
            assert error[0].tag == f"{{urn:ietf:params:xml:ns:xmpp-streams}}{condition}"
            await peer.closed()
            assert peer.ended
            peer = await server.peer()
            await peer.accept()
            while not link.up:
                await relay.up()
            peer.write(message("again"))
            assert await relay.text() == "again"

    asyncio.run(talk())
    assert "before" not in str(logged)
    assert "after" not in str(logged)
    assert f"bad stream from the server: {condition}" in str(reasons(logged)[0])


DEEP, LARGE = "<a>" * 65 + "</a>" * 65, "<body>" + "&quot;" * 60_000 + "</body>"
AMPLIFIED = f"<x xmlns='{'n' * 20_000}'/>" * 500


@pytest.mark.requirement("SEC-35", "ERR-04")
@pytest.mark.parametrize("content", [DEEP, LARGE, AMPLIFIED], ids=["depth", "size", "namespaces"])
def test_too_much_is_refused_and_the_link_stays(content: str) -> None:
    """Any user can write it: who did is told, and nobody else notices."""

    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            sent = deliver(link, 1)
            assert (await peer.next()).get("id") == "1"
            fence = await peer.next()
            ends = f"from='mira@xmpp.example/desk' to='tomas@{DOMAIN}'"
            peer.write(message("before") + f"<message {ends} id='m2'>{content}</message>" + message("between"))
            peer.write(f"<iq type='set' {ends} id='q1'><x xmlns='urn:x'>{content}</x></iq>" + message("after"))
            for name, number in (("message", "m2"), ("iq", "q1")):
                stanza = await peer.next()
                assert (stanza.tag, stanza.get("id"), stanza.get("type")) == (f"{NS}{name}", number, "error")
                assert (stanza.get("from"), stanza.get("to")) == (f"tomas@{DOMAIN}", "mira@xmpp.example/desk")
                assert [each.tag.rpartition("}")[2] for each in stanza[0]] == ["policy-violation", "text"]
                assert (stanza[0].get("type"), stanza[0][1].text) == ("modify", "The message is larger than the gateway carries")
            assert [await relay.text() for _ in range(3)] == ["before", "between", "after"]
            assert not sent.outcome.done()
            peer.send_back(fence)
            assert await soon(sent.outcome) == DELIVERED

    asyncio.run(talk())


@pytest.mark.requirement("SEC-35", "SEC-03")
def test_too_much_gets_no_answer_where_none_is_due() -> None:
    async def talk() -> None:
        async with lonely() as (_, relay, server):
            peer = await joined(relay, server)
            ends = f"from='mira@xmpp.example/desk' to='tomas@{DOMAIN}'"
            peer.write(f"<message type='error' {ends} id='e'>{DEEP}</message><iq type='result' {ends} id='q'>{DEEP}</iq>")
            peer.write(f"<presence {ends}>{DEEP}</presence><x xmlns='urn:x'>{DEEP}</x><message>{DEEP}</message>")
            peer.write(f"<message from='mira@elsewhere.example' to='tomas@{DOMAIN}' id='f'>{DEEP}</message>")
            stanza = await peer.next()
            assert (stanza.get("id"), stanza[0][0].tag.rpartition("}")[2]) == ("f", "forbidden")
            assert (await soon(relay.late.get()))[0] == ("e", f"tomas@{DOMAIN}", "mira@xmpp.example")
            assert relay.offers.empty()

    asyncio.run(talk())


@pytest.mark.requirement("SEC-35")
def test_an_error_that_is_too_much_is_an_error_still() -> None:
    """A server may send the whole message back in it, written at greater length."""

    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            sent = deliver(link, 1)
            fence = [await peer.next() for _ in range(2)][-1]
            peer.write(f"<message type='error' from='mira@xmpp.example' to='tomas@{DOMAIN}' id='1'>{LARGE}{ERROR}</message>")
            peer.send_back(fence)
            assert (await soon(sent.outcome)).verdict is Verdict.FAILED

    asyncio.run(talk())


@pytest.mark.requirement("SEC-35")
def test_an_answer_on_which_the_server_may_end_the_stream_is_not_written() -> None:
    async def talk() -> None:
        async with lonely() as (_, relay, server):
            peer = await joined(relay, server)
            ends = f"from='mira@xmpp.example/desk' to='tomas@{DOMAIN}'"
            peer.write(f"<message {ends} id='{'&quot;' * 60_000}'><body>x</body></message>")
            peer.write(f"<message {ends} id='m2' type='groupchat'><body>x</body></message>")
            assert (await peer.next()).get("id") == "m2"

    asyncio.run(talk())


@pytest.mark.requirement("REL-18")
def test_a_stanza_on_which_the_server_ends_the_stream_three_times_is_put_aside(logged: list[dict[str, object]]) -> None:
    """The server cannot bear number 2: the link goes on one by one until it is known, and the others are delivered."""

    async def talk() -> None:
        async with lonely() as (link, relay, server):
            waiting = [1, 2, 3]
            ends: dict[int, Verdict] = {}
            for _ in range(8):
                peer = await server.peer()
                await peer.accept()
                while not link.up:
                    await relay.up()
                while waiting:
                    written: list[Sent] = []
                    while waiting[len(written) :] and link.has_room():
                        written.append(deliver(link, waiting[len(written)]))
                    got = [(await peer.next()).get("id") for _ in written]
                    fence = await peer.next()
                    if "2" in got:
                        peer.error("undefined-condition")
                    else:
                        peer.send_back(fence)
                    outcomes = [(each.seq, await soon(each.outcome)) for each in written]
                    ends.update({seq: outcome.verdict for seq, outcome in outcomes if outcome != LOST})
                    waiting = [seq for seq in waiting if seq not in ends]
                    if "2" in got:
                        break
                if not waiting:
                    break
            assert ends == {1: Verdict.DELIVERED, 2: Verdict.POISON, 3: Verdict.DELIVERED}

    asyncio.run(talk())
    assert len(reasons(logged)) == 4


@pytest.mark.usefixtures("impatient")
@pytest.mark.requirement("REL-18")
def test_a_stanza_upon_which_three_streams_fall_silent_is_put_aside() -> None:
    async def talk() -> None:
        async with lonely() as (link, _, server):
            outcomes = []
            for _ in range(3):
                await (await server.peer()).accept()
                await until(lambda: link.up and link.has_room())
                outcomes.append((await soon(deliver(link, 1).outcome)).verdict)
            assert outcomes == [Verdict.LOST, Verdict.LOST, Verdict.POISON]

    asyncio.run(talk())


@pytest.mark.requirement("REL-18")
@pytest.mark.parametrize("condition", ["system-shutdown", "conflict"])
def test_a_server_that_has_other_reasons_blames_no_message(condition: str) -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            for _ in range(4):
                peer = await server.peer()
                await peer.accept()
                while not link.up:
                    await relay.up()
                written = deliver(link, 1)
                await peer.next()
                peer.error(condition)
                assert await soon(written.outcome) == LOST

    asyncio.run(talk())


# -- back pressure -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-24")
def test_a_server_that_does_not_read_is_not_written_to() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            sent: list[Sent] = []
            while link.has_room():
                sent.append(deliver(link, len(sent) + 1, "x" * 100_000))
                await asyncio.sleep(0)
            assert 1 < len(sent) < 1000
            while not relay.ups.empty():
                relay.ups.get_nowait()
            ids: list[str | None] = []
            while len(ids) < len(sent):
                element = await peer.next()
                if element.tag == f"{NS}iq":
                    peer.send_back(element)
                else:
                    ids.append(element.get("id"))
            assert ids == [str(each.seq) for each in sent]
            await relay.up()
            assert link.has_room()
            peer.send_back(await peer.next())
            assert {await soon(each.outcome) for each in sent} == {DELIVERED}

    asyncio.run(talk())


def test_256_may_be_unconfirmed() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            sent = [deliver(link, number) for number in range(1, 257)]
            assert not link.has_room()
            *_, fence = [await peer.next() for _ in range(257)]
            peer.send_back(fence)
            await soon(asyncio.gather(*(each.outcome for each in sent)))
            assert link.has_room()

    asyncio.run(talk())


@pytest.mark.requirement("REL-26")
def test_what_is_not_kept_yet_bounds_what_is_read() -> None:
    """The relay takes its time: reading stops at the bound, one read and the rest of a stanza more, and goes on when half is kept."""

    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            relay.patient = True
            texts = [f"{number:04}{'x' * 8000}" for number in range(400)]

            async def write() -> None:
                for text in texts:
                    peer.write(message(text))
                    await peer.writer.drain()

            writing = asyncio.create_task(write())
            taken = pauses = 0
            while taken < len(texts):
                total = len(texts) - taken
                await until(lambda total=total: not link._reading or relay.offers.qsize() == total)  # type: ignore[misc]
                for _ in range(100):
                    await asyncio.sleep(0)  # whatever would still be read comes now
                batch = [relay.offers.get_nowait() for _ in range(relay.offers.qsize())]
                assert (len(batch) - 1) * len(message(texts[0])) <= 2 * component.READ_BOUND_OCTETS
                pauses += not link._reading
                for number, (envelope, answered) in enumerate(batch, taken):
                    assert envelope.message.entity.text() == texts[number]
                    answered(None)
                taken += len(batch)
            await writing
            assert pauses >= len("".join(texts)) // (2 * component.READ_BOUND_OCTETS)

    asyncio.run(talk())


# -- stanzas that come -------------------------------------------------------------------------------------------------
@pytest.mark.requirement("IMSG-12", "ERR-04")
def test_a_message_is_offered_and_a_refusal_goes_back() -> None:
    async def talk() -> None:
        async with lonely() as (_, relay, server):
            peer = await joined(relay, server)
            relay.patient = True
            peer.write(message("one", id="a") + message("two", id="b"))
            (first, yes), (second, no) = [await soon(relay.offers.get()) for _ in range(2)]
            assert [each.message.entity.text() for each in (first, second)] == ["one", "two"]
            assert first.peer == f"xmpp:{DOMAIN}"
            yes(None)
            no(Refusal("queue-full"))
            stanza = await peer.next()
            assert (stanza.tag, stanza.get("id"), stanza.get("type")) == (f"{NS}message", "b", "error")
            assert (stanza.get("from"), stanza.get("to")) == (f"tomas@{DOMAIN}", "mira@xmpp.example/desk")

    asyncio.run(talk())


@pytest.mark.requirement("SEC-03", "ARCH-11", "SEC-40")
@pytest.mark.parametrize(
    ("sender", "target", "condition"),
    [
        (f"tomas@{DOMAIN}", f"tomas@{DOMAIN}", "forbidden"),
        (f"tomas@{DOMAIN.upper()}./x", f"tomas@{DOMAIN}", "forbidden"),
        ("mira@elsewhere.example", f"tomas@{DOMAIN}", "forbidden"),
        ("mira@elsewhere.example", rf"\\20@{DOMAIN}", "forbidden"),
        (r"\\5cmira@xmpp.example", f"tomas@{DOMAIN}", "jid-malformed"),
        ("mira@xmpp.example", rf"\\5cfoo@{DOMAIN}", "item-not-found"),
    ],
)
def test_who_may_not_speak_and_who_is_not_there(sender: str, target: str, condition: str) -> None:
    sender, target = sender.replace("\\\\", "\\"), target.replace("\\\\", "\\")

    async def talk() -> None:
        async with lonely() as (_, relay, server):
            peer = await joined(relay, server)
            peer.write(f"<message from='{sender}' to='{target}' id='m1'><body>never</body></message>" + message("after"))
            stanza = await peer.next()
            assert stanza[0][0].tag.rpartition("}")[2] == condition
            assert (stanza.get("from"), stanza.get("to")) == (target, sender)
            assert await relay.text() == "after"

    asyncio.run(talk())


@pytest.mark.requirement("ERR-05")
@pytest.mark.parametrize(
    "attributes",
    [
        "",
        "from=''",
        "from='mira@xmpp.example'",
        f"to='tomas@{DOMAIN}'",
        f"from='@' to='tomas@{DOMAIN}'",
        f"from='mira@' to='tomas@{DOMAIN}'",
        f"from='mira@a b' to='tomas@{DOMAIN}'",
        "from='mira@xmpp.example' to='tomas@elsewhere.example'",
        f"from='mira@xmpp.example' to='{DOMAIN}@elsewhere.example/{DOMAIN}'",
        f"type='error' from='@' to='tomas@{DOMAIN}'",
        f"type='error' from='{DOMAIN}' to='{DOMAIN}'",
        f"type='error' from='mira@elsewhere.example' to='tomas@{DOMAIN}'",
    ],
)
def test_what_has_no_two_ends_is_no_message_and_gets_no_answer(attributes: str) -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            peer.write(f"<message id='m1' {attributes}><body>never</body></message>" + message("after"))
            assert await relay.text() == "after"
            deliver(link, 1)
            assert (await peer.next()).get("id") == "1"

    asyncio.run(talk())


@pytest.mark.requirement("ERR-05", "ERR-04")
@pytest.mark.parametrize(
    ("sender", "target", "condition"),
    [
        ("mira@xmpp.example/desk", f"tomas@{DOMAIN}/\u1100", "item-not-found"),
        ("mira@xmpp.example/\u1100", f"tomas@{DOMAIN}/\u1100", "item-not-found"),
        ("mira@xmpp.example", f"\u2603@{DOMAIN}", "item-not-found"),
        ("mira@xmpp.example", f"x y@{DOMAIN.upper()}", "item-not-found"),
        ("\u2603&amp;@xmpp.example/\u1100&lt;", f"tomas@{DOMAIN}", "jid-malformed"),
    ],
)
def test_what_is_an_address_to_the_server_alone_is_answered(sender: str, target: str, condition: str) -> None:
    """PRECIS takes less than a server that still prepares strings as RFC 3920 did: the answer has its spelling."""

    async def talk() -> None:
        async with lonely() as (_, relay, server):
            peer = await joined(relay, server)
            peer.write(f"<message from='{sender}' to='{target}' id='m1'><body>never</body></message>")
            stanza = await peer.next()
            assert stanza[0][0].tag.rpartition("}")[2] == condition
            ends = (target, sender.replace("&amp;", "&").replace("&lt;", "<"))
            assert (stanza.get("from"), stanza.get("to"), stanza.get("id")) == (*ends, "m1")
            assert relay.offers.empty()

    asyncio.run(talk())


@pytest.mark.requirement("ADDR-13")
def test_a_resource_that_is_one_to_the_server_alone_is_left_out() -> None:
    async def talk() -> None:
        async with lonely() as (_, relay, server):
            peer = await joined(relay, server)
            relay.patient = True
            sender = "mira@xmpp.example/\u1100"
            peer.write(message("hi", **{"from": sender}))
            envelope, answered = await soon(relay.offers.get())
            assert (str(envelope.sender), envelope.sender_device) == ("mira@xmpp.example", "")
            answered(Refusal("queue-full"))
            assert (await peer.next()).get("to") == sender

    asyncio.run(talk())


# -- one message that fails here ---------------------------------------------------------------------------------------
def fails(*_: object, **__: object) -> None:
    raise RuntimeError("unforeseen")


def failures(lines: list[dict[str, object]]) -> list[object]:
    return [line["what"] for line in lines if line["event"] == "failed on one message"]


@pytest.mark.requirement("REL-09", "REL-18")
def test_a_delivery_that_cannot_be_told_does_not_hold_up_the_others(
    logged: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            sent = [deliver(link, number) for number in (1, 2, 3)]
            monkeypatch.setattr(sent[1], "done", fails)
            peer.send_back([await peer.next() for _ in range(4)][-1])
            assert [await soon(sent[each].outcome) for each in (0, 2)] == [DELIVERED, DELIVERED]
            later = deliver(link, 4)
            assert (await peer.next()).get("id") == "4"
            peer.send_back(await peer.next())
            assert await soon(later.outcome) == DELIVERED
            lost = [deliver(link, number) for number in (5, 6)]
            monkeypatch.setattr(lost[0], "done", fails)
            await peer.next()
            peer.close()
            assert await soon(lost[1].outcome) == LOST
            await (await server.peer()).accept()
            await until(lambda: link.up)

    asyncio.run(talk())
    assert failures(logged) == ["delivery 2", "delivery 5"]


@pytest.mark.requirement("REL-18", "REL-26")
def test_a_stanza_that_fails_here_is_refused_and_the_next_is_taken(
    logged: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its reading fails or its offer; an offer that failed is not waited for."""

    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            for number, (target, name) in enumerate(((relay, "offer"), (XmppCodec, "read"), (relay, "told")), 1):
                with monkeypatch.context() as patch:
                    patch.setattr(target, name, fails)
                    kind = "error" if name == "told" else "chat"
                    peer.write(message("never", id=f"m{number}", type=kind))
                    if kind == "error":
                        await until(lambda: len(failures(logged)) == 3)
                    else:
                        stanza = await peer.next()
                        assert (stanza.get("id"), stanza[0][0].tag.rpartition("}")[2]) == (f"m{number}", "internal-server-error")
                peer.write(message(f"after {number}"))
                assert await relay.text() == f"after {number}"
            assert link._uncommitted == 0

    asyncio.run(talk())
    assert str(failures(logged)[0]).startswith("message ")
    assert failures(logged)[1:] == ["stanza m2", "stanza m3"]


def test_an_answer_that_fails_here_is_not_the_fault_of_the_relay(logged: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            relay.patient = True
            peer.write(message("x"))
            _, answered = await soon(relay.offers.get())
            monkeypatch.setattr(XmppCodec, "refusal", fails)
            answered(Refusal("queue-full"))
            assert link._uncommitted == 0

    asyncio.run(talk())
    assert failures(logged) == ["stanza m1"]


def test_what_an_event_handler_raises_is_said(logged: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            monkeypatch.setattr(relay, "link_up", fails)
            await (await server.peer()).accept()
            await until(lambda: link.up)

    asyncio.run(talk())
    assert "failed on an event of the link" in [line["event"] for line in logged]


@pytest.mark.requirement("XEP-27", "XEP-17")
def test_questions_are_answered_and_presence_is_not() -> None:
    async def talk() -> None:
        async with lonely() as (_, relay, server):
            peer = await joined(relay, server)
            peer.write(
                f"<presence from='mira@xmpp.example' to='tomas@{DOMAIN}' type='subscribe'/><x xmlns='urn:x'/>"
                f"<iq type='result' from='mira@xmpp.example' to='{DOMAIN}' id='q0'/>"
                f"<iq type='get' from='mira@xmpp.example' to='{DOMAIN}' id='q1'><ping xmlns='urn:xmpp:ping'/></iq>"
                f"<iq type='set' from='mira@xmpp.example' to='tomas@{DOMAIN}' id='q2'><query xmlns='urn:x'/></iq>"
            )
            first, second = await peer.next(), await peer.next()
            assert [(each.get("id"), each.get("type"), each.get("to")) for each in (first, second)] == [
                ("q1", "result", "mira@xmpp.example"),
                ("q2", "error", "mira@xmpp.example"),
            ]
            assert relay.offers.empty()

    asyncio.run(talk())


# -- the end -----------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("REL-25")
def test_the_end_reads_to_the_end_of_the_servers_stream() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            ending = asyncio.create_task(link.finish(5))
            await until_ended(peer)
            assert not link.has_room()
            peer.write(message("last"))
            assert await relay.text() == "last"
            assert not ending.done()
            peer.write("</stream:stream>")
            await soon(ending)
            peer.close()
            assert not link.up

    asyncio.run(talk())


async def until_ended(peer: Peer) -> None:
    while not peer.ended:
        await peer.read()


@pytest.mark.requirement("REL-25")
def test_a_server_that_never_ends_is_left(logged: list[dict[str, object]]) -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            peer = await joined(relay, server)
            await soon(link.finish(0.05))
            await until_ended(peer)
            assert not link.up

    asyncio.run(talk())
    assert [line["event"] for line in logged][-1] == "the XMPP server did not end its stream"
    assert reasons(logged) == []


def test_the_end_of_a_link_that_is_not_up_is_at_once() -> None:
    async def talk() -> None:
        async with lonely(listening=False) as (link, _, _server):
            await soon(link.finish(5))

    asyncio.run(talk())


# -- beside a real server ----------------------------------------------------------------------------------------------
@pytest.mark.interop
@pytest.mark.requirement("XEP-01", "REL-09", "SEC-45")
def test_a_real_server(tmp_path: Path, logged: list[dict[str, object]]) -> None:
    """It refuses a wrong secret, takes the right one, sends the fence back, and says first what it could not deliver."""

    async def talk(port: int) -> None:
        relay = Relay()
        stranger = link_to(port, relay, "wrong")
        stranger.open()
        await until(lambda: len(reasons(logged)) >= 2)
        await stranger.finish(1)
        link = link_to(port, relay)
        link.open()
        await relay.up()
        outcome = await soon(deliver(link, 1).outcome)
        assert outcome.verdict is Verdict.FAILED
        assert outcome.status in (403, 404)  # as it sees a domain that it cannot reach
        await link.finish(5)

    with Prosody(tmp_path, components={DOMAIN: SECRET}) as server:
        asyncio.run(talk(server.component_port))
    assert set(reasons(logged)) == {"the server refuses the component secret"}
    assert "the XMPP server did not end its stream" not in [line["event"] for line in logged]
    assert SECRET not in str(logged)


# -- the carrier -------------------------------------------------------------------------------------------------------
def test_a_carrier_knows_its_links_by_their_domain() -> None:
    async def talk() -> None:
        async with lonely() as (link, relay, server):
            carrier = ComponentCarrier(codec())
            carrier.links[DOMAIN] = link
            assert not carrier.ready(DOMAIN, retry=False)
            await joined(relay, server)
            assert carrier.ready(DOMAIN, retry=True)
            assert not carrier.ready("elsewhere.example", retry=False)

    asyncio.run(talk())
