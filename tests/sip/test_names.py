"""Which headers are lists and how they are spelled, as the documents that define them have it."""

from __future__ import annotations

import pytest

from gateway.sip.message import parse
from gateway.sip.names import title
from tests.sip.sample import ROWS, octets

LISTS = {
    "RFC 3261 section 25.1": (
        "Accept, Accept-Encoding, Accept-Language, Alert-Info, Allow, Call-Info, Contact, Content-Encoding, Content-Language, Error-Info, "
        "In-Reply-To, Proxy-Require, Record-Route, Require, Route, Supported, Unsupported, Warning"
    ),
    "RFC 3325 section 9": "P-Asserted-Identity, P-Preferred-Identity",
    "RFC 3326 section 2": "Reason",
    "RFC 3327 section 4": "Path",
    "RFC 3329 section 2.2": "Security-Client, Security-Server, Security-Verify",
    "RFC 3608 section 5": "Service-Route",
    "RFC 3841 section 10": "Accept-Contact, Reject-Contact, Request-Disposition",
    "RFC 6665 section 8.4": "Allow-Events",
    "RFC 6809 section 6.2": "Feature-Caps",
    "RFC 7044 section 5": "History-Info",
}
NAMES = [name for names in LISTS.values() for name in names.split(", ")]


@pytest.mark.requirement("SIP-11")
@pytest.mark.parametrize("name", NAMES)
def test_a_list_may_stand_in_one_row_or_in_several(name: str) -> None:
    together = parse(octets([*ROWS, (name, '<sip:a@h>, "b,c" <sip:d@h>')]))
    apart = parse(octets([*ROWS, (name, "<sip:a@h>"), (name.upper(), '"b,c" <sip:d@h>')]))
    assert together.values(name) == apart.values(name.lower()) == ("<sip:a@h>", '"b,c" <sip:d@h>')


SPELLED = (
    "Call-ID, Content-ID, CSeq, MIME-Version, Min-SE, RAck, Request-URI, RSeq, SIP-ETag, SIP-If-Match, WWW-Authenticate, Via, Max-Forwards"
)


@pytest.mark.parametrize("name", [*SPELLED.split(", "), *NAMES])
def test_names_are_written_as_the_documents_print_them(name: str) -> None:
    assert title(name.lower()) == name
