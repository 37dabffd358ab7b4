"""The SIP element without sockets, in virtual time: matching, answers, where they go, and what it forgets."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway.sip.endpoint as endpoint_module
from gateway.sip.endpoint import Answer, Endpoint, ServerTransaction
from gateway.sip.flow import Flow
from gateway.sip.message import BadMessage, Response
from gateway.sip.transaction import ClientTransaction
from tests.sip.rig import PHONE, SECRET, STRANGER, STREAM, header, headers, param, request, response, status

ACCEPTED, LASTING, REFUSED = Answer(202, "Accepted"), Answer(480, "Temporarily Unavailable"), Answer(405, "Method Not Allowed")
OURS = "gw.example:5060"
HOP, OTHER_HOP = Flow("tcp", "", "127.0.0.1", 5080), Flow("tcp", "", "127.0.0.1", 5081)


@dataclass
class Element:
    """An endpoint and all that comes out of it. answering: what every new request is answered at once; None leaves it open.

    heard: how many times something has come on the stream to a hop. let_go: when that to which hop was given up, and who was waiting on it.
    """

    answering: Answer | None = None
    remember: bool = True
    now: float = 1000.0
    secret: bytes = SECRET
    sent: list[tuple[bytes, Flow]] = field(default_factory=list)
    arrived: list[ServerTransaction] = field(default_factory=list)
    ended: list[tuple[object, Response | None]] = field(default_factory=list)
    kept: set[int] = field(default_factory=set)
    heard: dict[Flow, int] = field(default_factory=dict)
    let_go: list[tuple[float, Flow, list[object]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.endpoint = Endpoint(
            send=lambda octets, flow: self.sent.append((octets, flow)),
            arrived=self._arrived,
            ended=self._ended,
            trusts=lambda flow: flow.host.startswith("127."),
            kept=lambda key: key in self.kept,
            heard=lambda flow: self.heard.get(flow, 0),
            let_go=self._let_go,
            sent_by=frozenset((OURS,)),
            secret=self.secret,
            now=self.now,
        )

    def _arrived(self, transaction: ServerTransaction) -> None:
        self.arrived.append(transaction)
        if self.answering:
            self.answer(self.answering, transaction)

    def _ended(self, transaction: ClientTransaction[Flow], end: Response | None) -> None:
        self.ended.append((transaction.user, end))

    def _let_go(self, flow: Flow) -> None:
        assert self.ended == []  # the end of the request is told later
        self.let_go.append((self.now - 1000, flow, [each.user for each in self.endpoint.clients.flow_lost(flow)]))

    def answer(self, answer: Answer, transaction: ServerTransaction | None = None) -> None:
        self.endpoint.answer(transaction or self.arrived[-1], answer, self.now, remember=self.remember)

    def receive(self, data: bytes, flow: Flow = PHONE, after: float = 0.0) -> list[bytes]:
        """What is sent because of these octets."""
        self.now += after
        before = len(self.sent)
        self.endpoint.receive(data, flow, self.now)
        return [octets for octets, _ in self.sent[before:]]

    def run(self, seconds: float) -> list[tuple[float, bytes]]:
        """Let time pass from deadline to deadline: what is sent, and how many seconds from here."""
        begin, found = self.now, []
        while (deadline := self.endpoint.next_deadline()) is not None and deadline <= begin + seconds:
            self.now, before = deadline, len(self.sent)
            self.endpoint.on_deadline(deadline)
            found += [(deadline - begin, octets) for octets, _ in self.sent[before:]]
        self.now = begin + seconds
        return found


# -- requests that come: retransmissions ---------------------------------------------------------------------------------
@pytest.mark.requirement("TXN-05", "TXN-08")
@pytest.mark.parametrize("answer", [ACCEPTED, LASTING, Answer(503, "Service Unavailable", (("Retry-After", "5"),))])
def test_a_retransmission_gets_the_same_octets_for_32_seconds_and_the_user_sees_it_once(answer: Answer) -> None:
    element = Element(answer)
    (first,) = element.receive(request())
    assert status(first) == answer.status
    for after in (0.5, 1, 2, 4, 4, 4, 4, 4, 4, 4):
        assert element.receive(request(), after=after) == [first]
    assert len(element.arrived) == 1
    assert element.endpoint.counters["retransmissions"] == 10


def test_after_twice_32_seconds_it_is_new_again() -> None:
    element = Element(LASTING)
    element.receive(request())
    element.receive(request(), after=64.1)
    assert len(element.arrived) == 2


def test_while_it_waits_a_retransmission_is_absorbed() -> None:
    element = Element()
    assert element.receive(request()) == []
    assert element.receive(request(), after=0.5) == []
    assert len(element.arrived) == 1
    element.answer(ACCEPTED)
    assert [status(octets) for octets, _ in element.sent] == [202]


@pytest.mark.requirement("TXN-20")
def test_a_100_goes_after_3_5_seconds_and_then_to_every_retransmission() -> None:
    element = Element()
    element.receive(request())
    ((at, trying),) = element.run(10)
    assert (at, status(trying)) == (3.5, 100)
    assert header(trying, "To") == "<sip:juliet@xmpp.example>"
    assert headers(trying, "Via") == ["SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-1;rport=5070;received=127.0.0.1"]
    assert element.receive(request()) == [trying]
    element.answer(ACCEPTED)
    assert status(element.sent[-1][0]) == 202
    assert element.run(60) == []


@pytest.mark.requirement("TXN-20")
def test_each_waiting_request_gets_its_100_in_time() -> None:
    element = Element()
    element.receive(request(branch="z9hG4bK-1"))
    element.receive(request(branch="z9hG4bK-2"), STREAM, after=1)
    element.receive(request(branch="z9hG4bK-3"), after=1)
    element.answer(ACCEPTED, element.arrived[2])
    found = element.run(10)
    assert [(at, status(octets), param(header(octets, "Via"), "branch")) for at, octets in found] == [
        (1.5, 100, "z9hG4bK-1"), (2.5, 100, "z9hG4bK-2")]  # fmt: skip


def test_a_request_that_is_forgotten_gets_no_answer_and_is_new_when_it_comes_again() -> None:
    element = Element()
    element.receive(request())
    element.endpoint.forget(element.arrived[0])
    assert element.run(60) == []
    element.receive(request())
    assert len(element.arrived) == 2


# -- matching ------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("TXN-02")
@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"max_forwards": "69"}, True),
        ({"via": "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-1"}, True),
        ({"call_id": "other"}, True),
        ({"branch": "z9hG4bK-2"}, False),
        ({"via": "SIP/2.0/UDP 127.0.0.1:5071;branch=z9hG4bK-1;rport"}, False),
        ({"via": "SIP/2.0/UDP 127.0.0.2:5070;branch=z9hG4bK-1;rport"}, False),
        ({"method": "OPTIONS"}, False),
    ],
)
def test_a_cookie_branch_matches_with_sent_by_and_method(change: dict[str, str], same: bool) -> None:
    element = Element(LASTING)
    element.receive(request())
    element.receive(request(**change))  # type: ignore[arg-type]
    assert len(element.arrived) == (1 if same else 2)


@pytest.mark.requirement("SIP-68", "TXN-02")
@pytest.mark.parametrize(
    ("transport", "port", "same"), [("UDP", 5060, True), ("TCP", 5060, True), ("TLS", 5061, True), ("TLS", 5060, False)]
)
def test_a_via_without_port_means_the_port_of_its_transport(transport: str, port: int, same: bool) -> None:
    element = Element(LASTING)
    for sent_by in ("127.0.0.1", f"127.0.0.1:{port}"):
        element.receive(request(via=f"SIP/2.0/{transport} {sent_by};branch=z9hG4bK-1"), STREAM)
    assert len(element.arrived) == (1 if same else 2)


OLD_VIA = "SIP/2.0/UDP 127.0.0.1:5070;branch=1"


@pytest.mark.requirement("TXN-03")
@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"max_forwards": "69", "subject": "s"}, True),
        ({"uri": "sip:mira@xmpp.example"}, False),
        ({"to": "<sip:juliet@xmpp.example>;tag=x"}, False),
        ({"from": "<sip:romeo@sip.example>;tag=r2"}, False),
        ({"call_id": "call-2"}, False),
        ({"cseq": "2 MESSAGE"}, False),
        ({"via": "SIP/2.0/UDP 127.0.0.1:5070;branch=2"}, False),
    ],
)
def test_without_the_cookie_all_of_rfc_2543_is_compared(change: dict[str, str], same: bool) -> None:
    element = Element(LASTING)
    element.receive(request(via=OLD_VIA))
    element.receive(request(**({"via": OLD_VIA} | change)))  # type: ignore[arg-type]
    assert len(element.arrived) == (1 if same else 2)


def test_a_method_counts_without_the_cookie_too() -> None:
    element = Element(LASTING)
    element.receive(request(via=OLD_VIA))
    element.receive(request("OPTIONS", via=OLD_VIA))
    assert [each.request.method for each in element.arrived] == ["MESSAGE", "OPTIONS"]


# -- unknown methods and CSeq --------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-20")
@pytest.mark.parametrize("method", ["MESSAGE", "OPTIONS", "REGISTER", "CANCEL"])
def test_a_known_method_with_another_in_cseq_is_400_and_seen_by_nobody(method: str) -> None:
    element = Element(ACCEPTED)
    (answer,) = element.receive(request(method, cseq="1 INVITE"))
    assert answer.startswith(b"SIP/2.0 400 CSeq method mismatch\r\n")
    assert element.arrived == []


@pytest.mark.requirement("SIP-20", "SIP-75")
def test_an_unknown_method_is_judged_by_its_method_whatever_cseq_says() -> None:
    element = Element(Answer(501, "Not Implemented"))
    for method, cseq in (("NEWMETHOD", "1 NEWMETHOD"), ("NEWMETHOD2", "1 INVITE"), ("Message", "1 MESSAGE")):
        (answer,) = element.receive(request(method, branch=f"z9hG4bK-{method}", cseq=cseq))
        assert status(answer) == 501
        assert header(answer, "CSeq") == cseq
    assert [each.request.method for each in element.arrived] == ["NEWMETHOD", "NEWMETHOD2", "Message"]


def test_an_unknown_method_must_be_sound_all_the_same() -> None:
    element = Element(ACCEPTED)
    (answer,) = element.receive(request("NEWMETHOD", cseq="x INVITE"))
    assert answer.startswith(b"SIP/2.0 400 Bad CSeq\r\n")


# -- bad requests --------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("TXN-25", "SIP-70")
def test_a_broken_request_gets_the_same_tag_every_time_and_another_one_another_tag() -> None:
    element = Element()
    tags = []
    for branch in ("z9hG4bK-1", "z9hG4bK-1", "z9hG4bK-2"):
        (answer,) = element.receive(request(branch=branch, max_forwards="many"))
        assert answer.startswith(b"SIP/2.0 400 Bad Max-Forwards\r\n")
        tags.append(param(header(answer, "To"), "tag"))
    assert tags[0] == tags[1] != tags[2]
    assert len(tags[0]) == 16
    assert element.endpoint.counters["bad"] == 3


@pytest.mark.requirement("TXN-25")
def test_the_tag_needs_the_secret() -> None:
    tags = []
    for secret in (b"one", b"two"):
        element = Element(LASTING, secret=secret)
        tags.append(param(header(element.receive(request())[0], "To"), "tag"))
    assert tags[0] != tags[1]


@pytest.mark.requirement("SIP-45")
@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0" * 40, b"\x00\x01\x00\x08\x21\x12\xa4\x42", b"SIP/2.0 200 OK\r\n\r\n"])
def test_noise_is_dropped_and_counted(data: bytes) -> None:
    element = Element()
    assert element.receive(data) == []
    assert element.endpoint.counters["dropped"] == 1


@pytest.mark.requirement("TXN-30")
@pytest.mark.parametrize("change", [{"cseq": "1 MESSAGE"}, {"call_id": None}, {"max_forwards": "x"}, {}])
def test_an_ack_gets_no_answer_whatever_is_wrong_with_it(change: dict[str, str | None]) -> None:
    element = Element(ACCEPTED)
    assert element.receive(request("ACK", body=b"", **change)) == []  # type: ignore[arg-type]
    assert element.arrived == []


def test_a_response_to_nothing_of_ours_leaves_no_state() -> None:
    element = Element()
    element.receive(response(request(), via=f"SIP/2.0/UDP {OURS};branch=z9hG4bKnobody"))
    assert (element.sent, element.arrived, element.ended) == ([], [], [])


# -- where answers go ----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SIP-63", "SIP-66")
def test_with_rport_the_answer_goes_to_the_source_from_the_socket_it_came_to() -> None:
    element = Element(ACCEPTED)
    nat = Flow("udp", "127.0.0.1:5060", "127.0.0.9", 61_000)
    (answer,) = element.receive(request(), nat)
    assert element.sent[-1][1] == nat
    assert header(answer, "Via") == "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-1;rport=61000;received=127.0.0.9"


@pytest.mark.requirement("SIP-66", "SIP-68")
@pytest.mark.parametrize(("sent_by", "port"), [("127.0.0.1:5099", 5099), ("phone.example", 5060), ("[2001:db8::1]:5070", 5070)])
def test_without_rport_it_goes_to_the_source_address_and_the_port_of_the_via(sent_by: str, port: int) -> None:
    element = Element(ACCEPTED)
    nat = Flow("udp", "127.0.0.1:5060", "127.0.0.9", 61_000)
    (answer,) = element.receive(request(via=f"SIP/2.0/UDP {sent_by};branch=z9hG4bK-1"), nat)
    assert element.sent[-1][1] == Flow("udp", "127.0.0.1:5060", "127.0.0.9", port)
    assert header(answer, "Via") == f"SIP/2.0/UDP {sent_by};branch=z9hG4bK-1;received=127.0.0.9"


@pytest.mark.requirement("SIP-66", "SEC-36")
def test_maddr_is_followed_for_a_trusted_peer_only() -> None:
    element = Element(ACCEPTED)
    via = "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-1;rport;maddr="
    element.receive(request(via=via + "127.0.0.77"))
    assert element.sent[-1][1] == Flow("udp", "", "127.0.0.77", 5070)
    assert element.receive(request(via=via + "192.0.2.1"), STRANGER) == []
    assert len(element.arrived) == 1
    assert element.endpoint.counters["dropped"] == 1
    # A name would have to be looked up; its sender has an address that can be answered to.
    element.receive(request(via=via + "elsewhere.example", branch="z9hG4bK-2"))
    assert element.sent[-1][1] == PHONE


@pytest.mark.requirement("SEC-36")
def test_a_broken_request_of_a_stranger_is_answered_to_its_source_whatever_maddr_says() -> None:
    element = Element()
    element.receive(request(via="SIP/2.0/UDP 192.0.2.66:5070;branch=z9hG4bK-1;maddr=127.0.0.1", cseq="x"), STRANGER)
    assert [flow.host for _, flow in element.sent] == ["192.0.2.66"]


@pytest.mark.requirement("SIP-65")
def test_over_a_stream_it_goes_back_on_the_connection_or_to_the_port_of_the_via() -> None:
    element = Element(ACCEPTED)
    element.receive(request(transport="TCP"), STREAM)
    assert element.sent[-1][1] == Flow("tcp", "127.0.0.1:5060", "127.0.0.1", 5070, 7)


@pytest.mark.requirement("SEC-36")
@pytest.mark.parametrize("broken", [False, True])
def test_a_stranger_gets_one_packet_of_at_most_twice_the_size(broken: bool) -> None:
    element = Element(Answer(403, "Forbidden", (("Warning", '399 gw.example "This peer is not known here"'),)), remember=False)
    data = request(cseq="x" if broken else "1 MESSAGE", body=b"")
    answers = element.receive(data, STRANGER)
    assert len(answers) == 1
    assert len(answers[0]) <= 2 * len(data)
    assert element.run(100) == []


# -- INVITE, ACK, CANCEL -------------------------------------------------------------------------------------------------
@pytest.mark.requirement("TXN-30")
def test_a_refused_invite_is_answered_again_until_its_ack_comes() -> None:
    element = Element(REFUSED)
    (refused,) = element.receive(request("INVITE", body=b""))
    assert status(refused) == 405
    assert element.run(4) == [(0.5, refused), (1.5, refused), (3.5, refused)]
    assert element.receive(request("INVITE", body=b"")) == [refused]
    assert element.receive(request("ACK", body=b"", to=header(refused, "To"))) == []
    assert element.run(4.9) == []
    assert element.receive(request("INVITE", body=b"")) == [refused]  # still absorbed in Confirmed
    element.run(0.2)
    assert len(element.arrived) == 1
    assert element.endpoint.next_deadline() is None


@pytest.mark.requirement("TXN-30")
def test_the_ack_of_an_rfc_2543_client_is_known_too() -> None:
    element = Element(REFUSED)
    (refused,) = element.receive(request("INVITE", body=b"", via=OLD_VIA))
    element.receive(request("ACK", body=b"", via=OLD_VIA, cseq="1 ACK", to=header(refused, "To")))
    assert element.run(40) == []


@pytest.mark.requirement("TXN-30")
def test_an_invite_without_ack_ends_after_32_seconds() -> None:
    element = Element(REFUSED)
    element.receive(request("INVITE", body=b""))
    assert [at for at, _ in element.run(100)] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert element.endpoint.next_deadline() is None


@pytest.mark.requirement("TXN-30", "SEC-36")
def test_an_invite_of_a_stranger_gets_one_stateless_answer_for_one_packet() -> None:
    element = Element(Answer(403, "Forbidden"), remember=False)
    (first,) = element.receive(request("INVITE", body=b""), STRANGER)
    assert element.run(40) == []
    assert element.receive(request("INVITE", body=b""), STRANGER) == [first]


def test_no_more_than_a_thousand_invites_are_remembered() -> None:
    element = Element(REFUSED, remember=False)
    for number in range(1100):
        element.receive(request("INVITE", branch=f"z9hG4bK-{number}", body=b""))
    assert len(element.run(0.5)) == 1000


@pytest.mark.requirement("TXN-31")
@pytest.mark.parametrize("method", ["MESSAGE", "OPTIONS", "INVITE"])
@pytest.mark.parametrize("answered", [False, True])
def test_cancel_of_a_known_transaction_is_200_with_its_tag_and_changes_nothing(method: str, answered: bool) -> None:
    element = Element(LASTING if answered else None)
    first = element.receive(request(method))
    (cancelled,) = element.receive(request("CANCEL", body=b"", require="100rel"))
    assert status(cancelled) == 200
    assert header(cancelled, "CSeq") == "1 CANCEL"
    if not answered:
        element.answer(LASTING)
        first = [element.sent[-1][0]]
    assert status(first[0]) == 480
    assert header(cancelled, "To") == header(first[0], "To")
    assert len(element.arrived) == 1


@pytest.mark.requirement("TXN-31")
def test_cancel_of_a_kept_message_is_200_and_of_nothing_481() -> None:
    element = Element(ACCEPTED, remember=False)
    element.receive(request())
    cancel = request("CANCEL", body=b"")
    (unknown,) = element.receive(cancel)
    assert unknown.startswith(b"SIP/2.0 481 Call/Transaction Does Not Exist\r\n")
    assert param(header(unknown, "To"), "tag") == param(header(element.receive(cancel)[0], "To"), "tag")
    element.kept.add(element.arrived[0].key)
    assert status(element.receive(cancel)[0]) == 200
    assert status(element.receive(request("CANCEL", branch="z9hG4bK-2", body=b""))[0]) == 481


# -- bounds --------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("TXN-08")
def test_different_answers_are_bounded_and_more_of_them_are_given_statelessly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "_MOST_ANSWERS", 3)
    element = Element()
    for number in range(5):
        element.receive(request(branch=f"z9hG4bK-{number}"))
        element.answer(Answer(503, "Service Unavailable", (("Retry-After", str(number)),)))
    firsts = [octets for octets, _ in element.sent]
    again = [element.receive(request(branch=f"z9hG4bK-{number}")) for number in range(5)]
    assert again == [[firsts[0]], [firsts[1]], [firsts[2]], [], []]
    assert len(element.arrived) == 7


@pytest.mark.requirement("TXN-08")
def test_when_no_more_can_be_remembered_it_says_so_and_answers_statelessly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "MOST_ANSWERED", 600)
    element = Element(LASTING)
    number = 0
    while not element.endpoint.is_crowded:
        number += 1
        element.receive(request(branch=f"z9hG4bK-{number}"))
    assert 600 <= number <= 1500
    for further in range(2):
        element.receive(request(branch="z9hG4bK-more"))
        assert len(element.arrived) == number + 1 + further
    element.receive(request(branch="z9hG4bK-1"))
    assert len(element.arrived) == number + 2  # what it had promised to know it still knows
    element.receive(request(branch="z9hG4bK-late"), after=200)
    assert not element.endpoint.is_crowded


# -- requests of our own -------------------------------------------------------------------------------------------------
def outgoing(element: Element, user: object = "m1", flow: Flow = PHONE) -> bytes:
    """A request of ours that is on its way."""
    branch = element.endpoint.branch()
    octets = request(via=f"SIP/2.0/UDP {OURS};branch={branch};rport")
    element.endpoint.request(branch, "MESSAGE", octets, flow, element.now, user)
    return octets


@pytest.mark.requirement("SIP-60")
def test_branches_have_the_cookie_and_64_random_bits() -> None:
    branches = {Endpoint.branch() for _ in range(1000)}
    assert len(branches) == 1000
    assert all(branch.startswith("z9hG4bK") and len(branch) == 7 + 16 for branch in branches)
    assert all(len({branch[at] for branch in branches}) == 16 for at in range(7, 23))


@pytest.mark.requirement("TXN-01", "TXN-22")
def test_the_final_response_ends_it_once() -> None:
    element = Element()
    sent = outgoing(element)
    assert element.sent == [(sent, PHONE)]
    element.receive(response(sent, 100, "Trying"))
    assert element.ended == []
    element.receive(response(sent, 202, "Accepted"))
    element.receive(response(sent, 404, "Not Found"))
    ((user, end),) = element.ended
    assert (user, end.status if end else None) == ("m1", 202)
    assert element.run(100) == []


@pytest.mark.requirement("TXN-22", "TXN-24")
def test_without_an_answer_it_ends_after_32_seconds_with_nothing() -> None:
    element = Element()
    sent = outgoing(element)
    assert element.run(100) == [(at, sent) for at in (0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)]
    assert element.ended == [("m1", None)]
    element.receive(response(sent, 200))
    assert len(element.ended) == 1


# -- streams that have gone silent ----------------------------------------------------------------------------------------
@pytest.mark.requirement("TRN-04", "REL-15")
def test_a_stream_on_which_nothing_came_since_the_request_is_given_up_with_all_that_waits_on_it() -> None:
    element = Element(heard={HOP: 1})
    for user, flow in (("first", HOP), ("elsewhere", OTHER_HOP)):
        outgoing(element, user, flow)
    element.heard[OTHER_HOP] = 1
    element.run(20)
    outgoing(element, "second", HOP)
    assert (element.let_go, element.ended) == ([], [])
    element.run(100)
    assert element.let_go == [(32.0, HOP, ["second"])]
    assert element.ended == [("first", None), ("elsewhere", None)]


@pytest.mark.requirement("TRN-04")
@pytest.mark.parametrize(("before", "after", "stays"), [(0, 0, False), (3, 3, False), (0, 1, True), (3, 4, True)])
def test_a_stream_on_which_anything_came_since_stays(before: int, after: int, stays: bool) -> None:
    """Its peer is slow with this request and no other, or has sent something of its own."""
    element = Element(heard={HOP: before})
    outgoing(element, "slow", HOP)
    outgoing(element, "next to it", HOP)
    element.heard[HOP] = after
    element.run(31)
    outgoing(element, "later", HOP)
    element.run(1)
    if stays:
        assert (element.let_go, element.ended) == ([], [("slow", None), ("next to it", None)])
    else:
        assert (element.let_go, element.ended) == ([(32.0, HOP, ["next to it", "later"])], [("slow", None)])


@pytest.mark.requirement("TRN-04", "MSG-69")
def test_a_stream_on_which_a_brief_request_has_ended_stays() -> None:
    element = Element(heard={HOP: 1})
    outgoing(element, "long", HOP)
    element.endpoint.request("z9hG4bK-brief", "MESSAGE", b"typing", HOP, element.now, "brief", brief=True)
    element.run(20)
    assert (element.let_go, element.ended) == ([], [("brief", None)])


def test_a_socket_for_datagrams_is_never_given_up() -> None:
    element = Element()
    outgoing(element)
    element.run(100)
    assert (element.let_go, element.ended) == ([], [("m1", None)])


@pytest.mark.requirement("SIP-61", "SIP-102", "TXN-01")
@pytest.mark.parametrize(
    "change",
    [
        {"via": "SIP/2.0/UDP other.example:5060;branch=BRANCH"},
        {"via": "SIP/2.0/UDP gw.example;branch=BRANCH"},
        {"via": f"SIP/2.0/UDP {OURS};branch=BRANCH, SIP/2.0/UDP phone.example"},
        {"via": f"SIP/2.0/UDP {OURS};branch=z9hG4bKother"},
        {"via": f"SIP/2.0/UDP {OURS}"},
        {"via": "nonsense"},
        {"cseq": "1 OPTIONS"},
        {"cseq": "MESSAGE"},
    ],
)
def test_a_response_that_is_not_ours_ends_nothing_and_gets_no_answer(change: dict[str, str]) -> None:
    element = Element()
    sent = outgoing(element)
    branch = param(header(sent, "Via"), "branch")
    element.receive(response(sent, **{name: value.replace("BRANCH", branch) for name, value in change.items()}))
    assert element.ended == []
    assert element.sent == [(sent, PHONE)]
    assert element.endpoint.counters["responses"] == 1


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_octets_whatever_make_it_raise(data: st.DataObject) -> None:
    element = Element(ACCEPTED)
    sent = outgoing(element)
    whole = data.draw(st.sampled_from([request(), request("INVITE"), request("ACK"), request("CANCEL"), request("NEW"), response(sent)]))
    at = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 12))
    noise = data.draw(st.binary(max_size=8) | st.sampled_from([b"\r\n", b"\0", b"\xff", b'"', b";maddr=x", b"Via: x\r\n", b","]))
    flow = data.draw(st.sampled_from([PHONE, STREAM, STRANGER]))
    element.receive(whole[:at] + noise + whole[at + cut :], flow)
    assert len(element.sent) <= 2


def test_a_stream_that_cannot_be_read_on_is_answered_if_that_can_be_done() -> None:
    element = Element()
    element.endpoint.bad(BadMessage("Not SIP"), STREAM)
    assert element.sent == []
    assert {name: count for name, count in element.endpoint.counters.items() if count} == {"bad": 1, "dropped": 1}
