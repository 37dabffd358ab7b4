"""Every method but MESSAGE: OPTIONS says what a MESSAGE would meet, CANCEL and ACK end nothing, the others are not served."""

from __future__ import annotations

import pytest

from tests.conformance.talk import Talk, conversation, rows, status_of

pytestmark = pytest.mark.interop
SERVED = {"MESSAGE", "OPTIONS", "CANCEL"}
REFUSED = ["INVITE", "REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "BYE", "INFO", "UPDATE", "REFER", "PRACK"]


@pytest.mark.requirement("MSG-91", "SIP-88")
@pytest.mark.parametrize("uri", ["sip:gw.stoxgate.test", "sip:127.0.0.1", "sip:u0@xmpp.test", "im:u0@xmpp.test", "sip:unknown@xmpp.test"])
@conversation()
async def test_options_names_methods_and_types(it: Talk, uri: str) -> None:
    answer = await it.asks(it.request("OPTIONS", uri=uri, body=b""))
    assert answer.startswith(b"SIP/2.0 200 OK\r\n")
    assert set(rows(answer, "Allow")[0].split(", ")) == SERVED
    assert {"text/plain", "message/cpim"} <= set(rows(answer, "Accept")[0].split(", "))
    assert (rows(answer, "Accept-Encoding"), rows(answer, "Accept-Language"), rows(answer, "Supported")) == (["identity"], ["*"], [""])
    assert rows(answer, "Content-Length") == ["0"]
    assert ";tag=" in rows(answer, "To")[0]


@pytest.mark.requirement("SIP-88")
@pytest.mark.parametrize(("uri", "status"), [("sip:s0@stoxgate.test", 404), ("sip:u0@elsewhere.test", 404), ("tel:+15551234", 416),
                                             ("sips:u0@xmpp.test", 480)])  # fmt: skip
@conversation()
async def test_options_to_nobody_gets_what_a_message_would_get(it: Talk, uri: str, status: int) -> None:
    assert status_of(await it.asks(it.request("OPTIONS", uri=uri, body=b""))) == status
    assert status_of(await it.asks(it.request(uri=uri))) == status


@pytest.mark.requirement("SIP-88", "SIP-79")
@conversation()
async def test_options_with_a_requirement_or_without_hops(it: Talk) -> None:
    answer = await it.asks(it.request("OPTIONS", body=b"", extra="Require: hovercraft\r\n"))
    assert (status_of(answer), rows(answer, "Unsupported")) == (420, ["hovercraft"])
    assert status_of(await it.asks(it.request("OPTIONS", body=b"", max_forwards=0))) == 200


@pytest.mark.requirement("MSG-91", "SIP-75")
@pytest.mark.parametrize("method", REFUSED)
@conversation()
async def test_a_known_method_is_not_allowed_here(it: Talk, method: str) -> None:
    request = it.request(method, body=b"")
    answer = await it.asks(request)
    assert status_of(answer) == 405
    assert set(rows(answer, "Allow")[0].split(", ")) == SERVED
    if method == "INVITE":
        it.phone.put(ack_of(it, request, answer))
    await it.hears_nothing()


@pytest.mark.requirement("MSG-94")
@conversation()
async def test_a_subscription_never_gets_a_202(it: Talk) -> None:
    for extra in ("Event: presence\r\nExpires: 3600\r\n", "Event: presence\r\nExpires: 0\r\n"):
        assert status_of(await it.asks(it.request("SUBSCRIBE", body=b"", extra=extra))) == 405


@pytest.mark.requirement("MSG-05", "SIP-75")
@pytest.mark.parametrize("method", ["MESSAGES", "message", "M", "X-Any.thing!%*_+`'~"])
@conversation()
async def test_an_unknown_method_is_not_implemented(it: Talk, method: str) -> None:
    answer = await it.asks(it.request(method))
    assert status_of(answer) == 501
    assert set(rows(answer, "Allow")[0].split(", ")) == SERVED
    await it.hears_nothing()


@pytest.mark.requirement("TXN-31")
@conversation()
async def test_cancel_undoes_nothing(it: Talk) -> None:
    refused = it.request(body=b"", uri="sip:nobody@elsewhere.test")
    assert status_of(await it.asks(refused)) == 404
    cancel = it.request("CANCEL", body=b"", extra="Require: hovercraft\r\n")
    assert status_of(await it.asks(cancel)) == 481
    invite = it.request("INVITE", body=b"")
    answer = await it.asks(invite)
    assert status_of(answer) == 405
    assert status_of(await it.asks(invite.replace(b"INVITE", b"CANCEL"))) == 200
    it.phone.put(ack_of(it, invite, answer))
    await it.hears_nothing()


@pytest.mark.requirement("TXN-30")
@conversation()
async def test_an_ack_is_never_answered(it: Talk) -> None:
    for data in (it.request("ACK", body=b""), it.request("ACK", body=b"", uri="tel:+1"), it.request("ACK", body=b"", to_tag="none")):
        it.phone.put(data)
        branch = rows(data, "Via")[0].partition("branch=")[2].partition(";")[0].encode()
        assert status_of(await it.asks(it.request("OPTIONS", body=b""))) == 200
        assert not [response for response in it.phone.responses.waiting if branch in response]


@pytest.mark.requirement("SIP-42")
@conversation()
async def test_keep_alives_of_a_stream_are_answered(it: Talk) -> None:
    async with it.bridge.stranger("tcp") as phone:
        phone.put(b"\r\n\r\n")
        assert status_of(await it.asks(it.request("OPTIONS", body=b"", transport="tcp"), phone)) == 200


def ack_of(it: Talk, request: bytes, answer: bytes) -> bytes:
    """The ACK for a refused INVITE (RFC 3261 section 17.1.1.3)."""
    via, [to] = rows(request, "Via"), rows(answer, "To")
    head = (f"ACK {it.to} SIP/2.0\r\nVia: {via[0]}\r\nMax-Forwards: 70\r\nFrom: {rows(request, 'From')[0]}\r\nTo: {to}\r\n"
            f"Call-ID: {rows(request, 'Call-ID')[0]}\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n")  # fmt: skip
    return head.encode()
