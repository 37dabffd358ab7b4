"""Whose certificate it is: table 3.1, every kind of name against every kind of author."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.verdict import Status
from gateway.smime.identity import speaks_for

from .people import claim

SIP, JID, PHONE = "sip:Romeo@sip.example", "xmpp:juliet@xmpp.example", "sip:+12015550123@sip.example;user=phone"
VALID, DOMAIN, WRONG = Status.VALID, Status.DOMAIN_SIGNED, Status.WRONG_IDENTITY
MATRIX = [
    # author, name in the certificate, verdict, verdict where email addresses count
    (SIP, "sip:Romeo@sip.example", VALID, VALID),
    (SIP, "sips:Romeo@SIP.example:5061;transport=tls?subject=x", VALID, VALID),
    (SIP, "SIP:%52omeo@sip.example", VALID, VALID),
    (SIP, "sip:romeo@sip.example", WRONG, WRONG),
    (SIP, "sip:Romeo@xmpp.example", WRONG, WRONG),
    (SIP, "sip:Romeo@sip.example.net", WRONG, WRONG),
    (SIP, "im:romeo@SIP.example", VALID, VALID),
    (SIP, "im:mira@sip.example", WRONG, WRONG),
    (SIP, "pres:Romeo@sip.example", WRONG, WRONG),
    (SIP, "mailto:Romeo@sip.example", WRONG, VALID),
    (SIP, "mailto:romeo@sip.example", WRONG, WRONG),
    (SIP, "mailto:sip.example", WRONG, WRONG),
    (SIP, "mailto:o'malley@sip.example", WRONG, WRONG),
    (SIP, "dns:sip.example", DOMAIN, DOMAIN),
    (SIP, "dns:SIP.example", DOMAIN, DOMAIN),
    (SIP, "dns:example", WRONG, WRONG),
    (SIP, "dns:*.example", WRONG, WRONG),
    (SIP, "dns:a b", WRONG, WRONG),
    (SIP, "sip:sip.example", DOMAIN, DOMAIN),
    (SIP, "sip:@sip.example", WRONG, WRONG),
    (SIP, "https:sip.example", WRONG, WRONG),
    (SIP, "Romeo@sip.example", WRONG, WRONG),
    (SIP, "xmpp:romeo@sip.example", WRONG, WRONG),
    (SIP, "tel:+12015550123", WRONG, WRONG),
    (JID, "xmpp:juliet@xmpp.example", VALID, VALID),
    (JID, "im:juliet@xmpp.example", VALID, VALID),
    (JID, "im:Juliet@XMPP.example", VALID, VALID),
    (JID, "xmpp:romeo@xmpp.example", WRONG, WRONG),
    (JID, "pres:juliet@xmpp.example", WRONG, WRONG),
    (JID, "mailto:juliet@xmpp.example", WRONG, WRONG),
    (JID, "dns:xmpp.example", DOMAIN, DOMAIN),
    (PHONE, "tel:+1-201-555-0123", VALID, VALID),
    (PHONE, "tel:+12015550123;isub=1", VALID, VALID),
    (PHONE, "sip:+1(201)5550123@other.example;user=phone", WRONG, WRONG),
    (PHONE, "sip:+12015550123@other.example", WRONG, WRONG),
    (PHONE, "sip:+12015550123@sip.example", VALID, VALID),
    (PHONE, "tel:+12015550124", WRONG, WRONG),
    (PHONE, "tel:5550123;phone-context=+1201", WRONG, WRONG),
    (PHONE, "tel:x", WRONG, WRONG),
    ("tel:+12015550123", "tel:+1.201.555.0123", VALID, VALID),
    ("tel:5550123;phone-context=+1201", "tel:555-0123;phone-context=+1-201", VALID, VALID),
    ("tel:5550123;phone-context=+1201", "tel:5550123;phone-context=+1202", WRONG, WRONG),
    ("sip:5550123@sip.example;user=phone", "sip:5550123@other.example;user=phone", WRONG, WRONG),
]


@pytest.mark.requirement("SMIME-25", "E2E-17")
@pytest.mark.parametrize(("author", "name", "expected", "with_email"), MATRIX)
def test_every_name_against_every_author(author: str, name: str, expected: Status, with_email: Status) -> None:
    assert speaks_for([name], claim(author), []).status is expected
    assert speaks_for([name], claim(author), [], rfc822=True).status is with_email
    assert speaks_for(["sip:nobody@sip.example", name], claim(author), []).status is expected


@pytest.mark.requirement("SMIME-25")
def test_one_name_of_several_is_enough_and_none_is_too_few() -> None:
    assert speaks_for(["dns:sip.example", "im:romeo@sip.example"], claim(SIP), []).status is VALID
    assert speaks_for([], claim(SIP), []).status is WRONG


@pytest.mark.requirement("E2E-17")
def test_the_resource_is_ignored() -> None:
    theirs = claim("xmpp:juliet@xmpp.example/balcony")
    assert str(theirs.author) == "juliet@xmpp.example/balcony"
    assert speaks_for(["xmpp:juliet@xmpp.example"], theirs, []).status is VALID


@pytest.mark.requirement("SMIME-26")
@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ([], VALID),
        (["im:romeo@sip.example"], VALID),
        (["im:romeo@sip.example", "sip:Romeo@sip.example"], VALID),
        (["im:mira@sip.example"], WRONG),
        (["im:romeo@sip.example", "im:mira@sip.example"], WRONG),
        (["im:mira@sip.example", "im:romeo@sip.example"], WRONG),
        (["mailto:romeo@sip.example"], WRONG),
        (["no URI"], WRONG),
    ],
)
def test_everything_that_says_who_it_is_from_says_the_same(stated: list[str], expected: Status) -> None:
    assert speaks_for(["sip:Romeo@sip.example", "sip:mira@sip.example"], claim(SIP), stated).status is expected
    assert speaks_for(["im:romeo@sip.example"], claim(SIP), stated).status is expected


@pytest.mark.requirement("SMIME-26")
def test_the_innermost_from_decides_the_spelling() -> None:
    names = ["sip:romeo@sip.example"]
    assert speaks_for(names, claim(SIP), ["sip:romeo@sip.example"]).status is VALID
    assert speaks_for(names, claim(SIP), ["sip:Romeo@sip.example", "sip:romeo@sip.example"]).status is WRONG


def test_a_request_from_somebody_else_is_somebody_elses() -> None:
    theirs = replace(claim(SIP), author_uri="sip:mira@sip.example")
    assert speaks_for(["sip:Romeo@sip.example"], theirs, []).status is WRONG
    assert speaks_for(["sip:Romeo@sip.example"], replace(theirs, author_uri=""), []).status is VALID
