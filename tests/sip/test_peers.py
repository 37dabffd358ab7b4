"""What is known of SIP users: who says so, until when, what outweighs what, and what survives a restart. The time is the test's."""

from __future__ import annotations

import json

import pytest

from gateway.core.address import SipAddress
from gateway.core.canonical import text_message
from gateway.core.envelope import Envelope
from gateway.core.imdn import DISPLAY, Disposition
from gateway.core.jid import Jid
from gateway.core.outcome import Outcome, Verdict
from gateway.core.ports import Notice, Recollection
from gateway.sip import peers as peers_module
from gateway.sip.message import Request, Response, parse
from gateway.sip.peers import FEATURES, KIND, Peers, as_takes, listed
from gateway.sip.takes import UNKNOWN, Takes
from tests.sip.rig import SECRET, request, response

ROMEO, TOMAS = SipAddress("romeo", "sip.example"), SipAddress("tomas", "sip.example")
JULIET = Jid("juliet", "xmpp.example")
DOMAIN = SipAddress("", "sip.example")
DAY = 86_400.0


class World:
    """Peers at a time that the test sets, and what they have had kept."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.kept: list[Recollection] = []
        self.peers = Peers(SECRET, lambda: self.now, self.kept.append)

    def restart(self) -> None:
        """Begin again with what is still good, oldest first, as the store has it."""
        found = [(each.key, each.facts) for each in self.kept if each.until >= self.now]
        self.peers = Peers(SECRET, lambda: self.now, self.kept.append)
        self.peers.load(found)

    def refused(self, feature: str, accept: str | None = None, who: SipAddress = ROMEO) -> Takes:
        self.peers.refused(who, [feature], answer(415, accept))
        return self.peers.takes(who)

    def known(self, who: SipAddress = ROMEO) -> dict[str, tuple[bool, str]]:
        return {row.feature: (row.takes, row.source) for row in self.peers.rows(who)}


def answer(status: int = 200, accept: str | None = None) -> Response:
    said = parse(response(request(), status, "Said", **({} if accept is None else {"accept": accept or " "})))
    assert isinstance(said, Response)
    return said


def asked(content_type: str = "text/plain", accept: str | None = None) -> Request:
    read = parse(request(content_type=content_type, accept=accept))
    assert isinstance(read, Request)
    return read


def letter(wishes: frozenset[str] = frozenset(), sender: SipAddress = ROMEO) -> Envelope:
    return Envelope("i", "t", sender, JULIET, text_message(sender, JULIET, "hi", 0), 0, "udp:127.0.0.1", asked=wishes)


# -- what an Accept says --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("text/plain", ""),
        ("", ""),
        ("text/plain, text/html", "html"),
        ("text/html;level=1;q=0.2", "html"),
        ("TEXT/HTML ; Q=1", "html"),
        ("text/html;q=0", ""),
        ("text/html;q=0.000", ""),
        ("text/*, message/sipfrag", "html sipfrag"),
        ("text/*, text/html;q=0", ""),
        ("*/*, application/im-iscomposing+xml;q=0.0", "cpim imdn html sipfrag smime"),
        ("message/*", "cpim imdn sipfrag"),
        ("message/cpim, message/imdn+xml, application/im-iscomposing+xml", "cpim imdn typing"),
    ],
)
@pytest.mark.requirement("SIP-104", "ERR-S415")
def test_an_accept_lists_what_is_taken_and_the_most_specific_range_decides(accept: str, taken: str) -> None:
    assert listed(answer(415, accept)) == {feature: feature in taken.split() for feature in FEATURES}


def test_one_who_takes_cpim_and_does_not_name_imdn_has_said_nothing_of_it() -> None:
    found = listed(answer(415, "text/plain, message/cpim"))
    assert "imdn" not in found
    assert (found["cpim"], found["html"]) == (True, False)
    assert listed(answer(415, "message/cpim, message/imdn+xml;q=0"))["imdn"] is False


@pytest.mark.parametrize("accept", [None, '"text/html', "text/html,,text/plain"])
def test_no_accept_and_one_that_cannot_be_read_say_nothing(accept: str | None) -> None:
    assert listed(answer(415, accept)) == {}


# -- what is learned -----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ISC-05", "ERR-S415", "ICPIM-34")
@pytest.mark.parametrize("feature", FEATURES)
def test_a_415_without_accept_teaches_the_one_thing_that_was_tried_for_24_hours(feature: str) -> None:
    it = World()
    assert it.refused(feature) == Takes(**{feature: False})
    assert it.peers.takes(TOMAS) == UNKNOWN
    assert it.peers.takes(SipAddress("ROMEO", "sip.example")) == Takes(**{feature: False})
    it.now += DAY - 1
    assert it.peers.takes(ROMEO) == Takes(**{feature: False})
    it.now += 1
    assert it.peers.takes(ROMEO) == UNKNOWN
    assert it.peers.rows() == []


@pytest.mark.requirement("ERR-S415")
def test_a_415_to_two_features_says_which_of_them_or_else_it_is_the_more_particular_one() -> None:
    it = World()
    it.peers.refused(ROMEO, ["html", "cpim"], answer(415, "text/html"))
    assert (it.peers.takes(ROMEO).html, it.peers.takes(ROMEO).cpim) == (True, False)
    for accept in (None, "message/cpim, text/html"):
        it.peers.refused(TOMAS, ["html", "cpim"], answer(415, accept))
        assert it.peers.takes(TOMAS).html is False
        assert it.peers.takes(TOMAS).cpim is (None if accept is None else True)


@pytest.mark.requirement("ERR-S415")
def test_a_415_with_accept_teaches_all_of_it_but_never_that_what_was_refused_is_taken() -> None:
    it = World()
    found = it.refused("cpim", "text/plain, text/html, message/cpim, application/im-iscomposing+xml")
    assert found == Takes(cpim=False, typing=True, html=True, sipfrag=False)


@pytest.mark.requirement("MSG-34")
def test_an_accept_in_a_message_says_nothing() -> None:
    it = World()
    it.peers.met(asked(accept="text/plain, text/html"), letter())
    assert it.peers.takes(ROMEO) == UNKNOWN


@pytest.mark.parametrize(
    ("content_type", "wishes", "taken"),
    [
        ("text/plain", frozenset(), ""),
        ("text/html", frozenset(), "html"),
        ("message/cpim", frozenset(), "cpim"),
        ("message/cpim", frozenset((DISPLAY,)), "cpim imdn"),
        ("application/im-iscomposing+xml", frozenset(), "typing"),
        ("image/png", frozenset(), ""),
    ],
)
def test_what_somebody_sends_he_takes(content_type: str, wishes: frozenset[str], taken: str) -> None:
    it = World()
    it.peers.met(asked(content_type), letter(wishes))
    assert it.known() == dict.fromkeys(taken.split(), (True, "sent"))


def test_who_sends_a_notification_takes_it() -> None:
    it = World()
    notice = Notice(("imdn id", "romeo@sip.example", "juliet@xmpp.example"), Disposition.DELIVERED)
    it.peers.met(asked("message/imdn+xml"), (notice,))
    assert it.peers.takes(ROMEO) == Takes(imdn=True)
    it.peers.met(asked("message/imdn+xml"), ())


@pytest.mark.requirement("FRAG-42")
@pytest.mark.parametrize("whom", ["tomas@sip.example", "sip.example", "x@evil.example"])
@pytest.mark.parametrize("content_type", ["message/sipfrag", "multipart/mixed"])
def test_nothing_is_learned_of_whom_a_report_names(content_type: str, whom: str) -> None:
    it = World()
    it.peers.met(asked(content_type), (Notice(("call-1 7", whom, "juliet@xmpp.example"), Outcome(Verdict.FAILED, 404)),))
    assert (it.peers.rows(), it.kept) == ([], [])


@pytest.mark.parametrize("sender", [DOMAIN, SipAddress.anonymous("sip.example")])
def test_nothing_is_learned_of_a_domain_and_of_whoever_does_not_say_who_he_is(sender: SipAddress) -> None:
    it = World()
    it.peers.met(asked("message/cpim"), letter(sender=sender))
    assert (it.peers.rows(), it.kept) == ([], [])


@pytest.mark.requirement("ICPIM-34")
def test_the_newest_holds_but_an_answer_to_options_against_a_415() -> None:
    it = World()
    it.refused("cpim")
    it.peers.answered(ROMEO, answer(200, "message/cpim, text/plain"))
    assert it.known()["cpim"] == (False, "415")
    assert it.known()["typing"] == (False, "OPTIONS")
    it.now += 1
    it.peers.met(asked("message/cpim"), letter())
    assert it.known()["cpim"] == (True, "sent")
    it.refused("cpim")
    assert it.known()["cpim"] == (False, "415")
    it.peers.met(asked("application/im-iscomposing+xml"), letter())
    assert it.known()["typing"] == (True, "sent")
    it.peers.answered(ROMEO, answer(200, "text/plain"))
    assert it.known()["typing"] == (False, "OPTIONS")
    it.refused("typing")
    it.peers.answered(ROMEO, answer(200, "application/im-iscomposing+xml"))
    assert it.known()["typing"] == (False, "415")
    it.now += DAY
    it.peers.answered(ROMEO, answer(200, "application/im-iscomposing+xml"))
    assert it.known() == {"typing": (True, "OPTIONS")}


@pytest.mark.requirement("ICPIM-34")
def test_a_415_with_accept_outweighs_what_was_sent_before() -> None:
    it = World()
    it.peers.met(asked("message/cpim"), letter())
    it.refused("cpim")
    it.peers.met(asked("message/cpim", accept="*/*"), letter())
    it.refused("html", "text/plain")
    assert it.known()["cpim"] == (False, "415")
    it.refused("html", "message/cpim")
    assert it.known()["cpim"] == (True, "415")
    it.now += DAY
    it.peers.met(asked("message/cpim"), letter())
    assert it.known() == {"cpim": (True, "sent")}


@pytest.mark.parametrize(
    ("accept", "taken", "is_typing_taken"),
    [
        ("application/sdp", "", None),
        ("application/sdp, application/dialog-info+xml, message/sipfrag;version=2.0", "sipfrag", None),
        ("", "", None),
        ("text/plain;q=0", "", None),
        ("text/plain", "", False),
        ("application/sdp, text/html", "html", False),
        ("message/cpim;q=0, message/*", "imdn sipfrag", False),
        ("message/imdn+xml", "imdn", False),
        ("text/plain, application/im-iscomposing+xml", "", True),
        ("*/*", "cpim imdn html sipfrag smime", True),
        ("multipart/mixed, */*;q=0", "", False),
    ],
)
@pytest.mark.requirement("ICPIM-34")
def test_an_answer_to_options_tells_what_is_taken_and_no_only_of_typing(accept: str, taken: str, is_typing_taken: bool | None) -> None:
    it = World()
    it.peers.answered(ROMEO, answer(200, accept))
    assert it.peers.takes(ROMEO) == Takes(typing=is_typing_taken, **dict.fromkeys(taken.split(), True))


def test_who_has_refused_a_notification_takes_none_for_asking_and_takes_them_when_he_sends_one() -> None:
    it = World()
    it.refused("imdn")
    it.peers.met(asked("message/cpim"), letter(frozenset((DISPLAY,))))
    assert it.known() == {"cpim": (True, "sent"), "imdn": (False, "415")}
    notice = Notice(("imdn id", "romeo@sip.example", "juliet@xmpp.example"), Disposition.DELIVERED)
    it.peers.met(asked("message/imdn+xml"), (notice,))
    assert it.known()["imdn"] == (True, "sent")
    it.refused("imdn")
    it.now += DAY
    it.peers.met(asked("message/cpim"), letter(frozenset((DISPLAY,))))
    assert it.known()["imdn"] == (True, "sent")


def test_an_answer_to_options_takes_back_nothing_that_he_has_shown() -> None:
    it = World()
    it.peers.met(asked("message/cpim"), letter(frozenset((DISPLAY,))))
    for accept in ("application/sdp", "text/plain"):
        it.now += 1
        it.peers.answered(ROMEO, answer(200, accept))
        assert (it.peers.takes(ROMEO).cpim, it.peers.takes(ROMEO).imdn) == (True, True)


def test_an_answer_to_options_without_accept_teaches_nothing() -> None:
    it = World()
    it.peers.answered(ROMEO, answer())
    assert (it.peers.takes(ROMEO), it.kept) == (UNKNOWN, [])


def test_he_is_asked_once_a_day() -> None:
    it = World()
    assert it.peers.may_ask(ROMEO)
    assert it.peers.may_ask(TOMAS)
    it.now += DAY - 1
    assert not it.peers.may_ask(SipAddress("Romeo", "sip.example"))
    it.now += 1
    assert it.peers.may_ask(ROMEO)
    it.peers.forget(ROMEO)
    assert it.peers.may_ask(ROMEO)
    it.peers.not_asked(ROMEO, 60.0)
    it.now += 59
    assert not it.peers.may_ask(ROMEO)
    it.now += 1
    assert it.peers.may_ask(ROMEO)
    it.peers.not_asked(ROMEO)
    assert it.peers.may_ask(ROMEO)


# -- the operator ---------------------------------------------------------------------------------------------------------
def test_what_is_pinned_outweighs_all_for_a_year() -> None:
    it = World()
    it.refused("cpim")
    it.peers.pin(ROMEO, {"cpim": True, "typing": False})
    it.refused("cpim", "text/plain")
    assert it.known()["cpim"] == (True, "pinned")
    assert it.known()["typing"] == (False, "pinned")
    it.peers.pin(ROMEO, {"cpim": None})
    assert it.known()["cpim"] == (False, "415")
    it.now += 365 * DAY - 1
    assert it.known() == {"typing": (False, "pinned")}
    it.now += 1
    assert it.known() == {}


def test_a_domain_is_pinned_for_all_of_whom_nothing_else_is_known() -> None:
    it = World()
    it.peers.pin(DOMAIN, {"typing": False, "cpim": False})
    assert it.peers.takes(TOMAS) == Takes(typing=False, cpim=False)
    it.refused("html", "message/cpim")
    assert it.peers.takes(ROMEO).cpim is True
    assert it.peers.takes(SipAddress("romeo", "other.example")) == UNKNOWN
    assert {row.address for row in it.peers.rows()} == {"*@sip.example", "romeo@sip.example"}
    assert {row.address for row in it.peers.rows(TOMAS)} == {"tomas@sip.example"}


def test_what_is_forgotten_is_not_known_after_a_restart_either() -> None:
    it = World()
    it.refused("cpim")
    it.peers.pin(ROMEO, {"html": True})
    assert it.peers.forget(ROMEO)
    assert not it.peers.forget(ROMEO)
    assert it.peers.rows() == []
    it.now += DAY - 1
    it.restart()
    assert it.peers.rows() == []
    it.now += 300 * DAY
    it.restart()
    assert it.peers.rows() == []


def test_words_of_an_operator() -> None:
    assert as_takes({"cpim": "no", "html": "yes", "imdn": "auto"}) == {"cpim": False, "html": True, "imdn": None}
    with pytest.raises(ValueError, match='"smell" is none of cpim, imdn, typing, html, sipfrag'):
        as_takes({"smell": "yes"})
    with pytest.raises(ValueError, match='cpim: "perhaps" is none of yes, no, auto'):
        as_takes({"cpim": "perhaps"})
    with pytest.raises(ValueError, match="smell"):
        World().peers.pin(ROMEO, {"smell": True})


# -- keeping --------------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("ERR-S415", "ICPIM-34")
def test_what_is_known_survives_a_restart_as_long_as_it_counts() -> None:
    it = World()
    it.refused("cpim", "text/html")
    it.peers.pin(TOMAS, {"imdn": True})
    it.peers.pin(ROMEO, {"typing": True})
    before = it.peers.rows()
    assert len({each.key for each in it.kept}) == 3
    it.now += DAY / 2
    it.restart()
    assert it.peers.rows() == before
    assert {each.kind for each in it.kept} == {KIND}
    assert [each.until for each in it.kept] == [1000.0 + DAY, 1000.0 + 365 * DAY, 1000.0 + 365 * DAY]
    it.now += DAY / 2
    it.restart()
    assert [row.address for row in it.peers.rows()] == ["romeo@sip.example", "tomas@sip.example"]


def test_a_pin_that_was_taken_out_stays_out_while_others_of_him_end() -> None:
    it = World()
    it.peers.pin(ROMEO, {"html": True})
    it.now += 10 * DAY
    it.peers.pin(ROMEO, {"cpim": False})
    it.peers.pin(ROMEO, {"cpim": None})
    it.now += 360 * DAY
    it.restart()
    assert it.peers.rows() == []


def test_what_is_shown_again_and_again_is_written_twice_a_day() -> None:
    it = World()
    for _ in range(24):
        it.peers.met(asked("message/cpim"), letter())
        it.now += 3600
    assert len(it.kept) == 2
    assert it.peers.takes(ROMEO).cpim is True
    assert len({each.key for each in it.kept}) == 1


@pytest.mark.parametrize(
    "text",
    ["", "[]", "7", '["a@b", false]', '["a@b", false, []]', '["a@b", false, {"cpim": [true]}]', '[1, false, {"cpim": [true, "415", 9]}]'],
)
def test_what_cannot_be_read_is_passed_over(text: str) -> None:
    it = World()
    it.peers.load([(1, text), (2, json.dumps(["romeo@sip.example", False, {"cpim": [True, "415", 5000], "smell": [True, "415", 5000]}]))])
    assert it.known() == {"cpim": (True, "415")}


def test_of_too_many_the_one_learned_of_longest_ago_goes_and_no_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_module, "MOST_KNOWN", 3)
    it = World()
    for number in range(5):
        it.peers.pin(SipAddress(f"p{number}", "sip.example"), {"cpim": True})
        it.refused("cpim", who=SipAddress(f"s{number}", "sip.example"))
        it.peers.may_ask(SipAddress(f"s{number}", "sip.example"))
    assert [row.address[:2] for row in it.peers.rows()] == ["p0", "p1", "p2", "p3", "p4", "s2", "s3", "s4"]
    assert it.peers.may_ask(SipAddress("s1", "sip.example"))
    assert not it.peers.may_ask(SipAddress("s4", "sip.example"))
