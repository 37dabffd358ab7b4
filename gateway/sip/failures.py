"""Reports of failed messages as message/sipfrag in a MESSAGE (RFC 3420): those that come, and those of ours. Pure.

A fragment is not signed. What it says is taken as the word of the peer that sent it, about a request that went to a domain for which that
peer speaks, and about nothing else: To, Call-ID and CSeq have to name a request of ours, and whom it is sent to has to be who had written
that (FRAG-42). So neither a captured report nor a made-up one tells anything of another message, to anybody else, or twice (FRAG-31). Its
sender has to be the recipient himself, or a gateway: a URI without a user, or with one who is nobody of a served domain and does not hide
who he is. Another user is not believed, and a gateway is the author of nothing (FRAG-32). No place in it is ever sent to (FRAG-33).

What is believed and about a known request is that news and nothing else. What is not, or tells of no failure (FRAG-45), is an ordinary
MESSAGE, whose text is there to be read and whose fragment is left out; with nothing beside the fragment it is accepted and dropped.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from gateway.core import sipfrag
from gateway.core.canonical import FAILURE_TYPE
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.mime import MIXED, Entity, mime_parts
from gateway.core.outcome import Outcome, Verdict
from gateway.core.sipfrag_writer import REPORTED, compose_status, excerpt
from gateway.core.text import one_line
from gateway.core.uri import Uri

from .headers import CSeq, NameAddr
from .writer import PHRASES

_MOST_REASON = 128
_MOST_LEVELS = 2
_SECONDS = re.compile(r"[0-9]+")


class Report(NamedTuple):
    """What became of a request. name: its "Call-ID CSeq-number". to: the URI of its To. outcome: its status, which may be any."""

    name: str
    to: Uri
    outcome: Outcome


def find_report(body: Entity) -> Report | None:
    """The report that a body is, or that is one part of its multipart/mixed; None where nothing in it names the MESSAGE that it is about.

    What cannot be read is no report; who looks at it as a message will say why (FRAG-11).
    """
    try:
        parts = [body] if body.content_type.essence != MIXED else [each.entity for each in mime_parts(body, _MOST_LEVELS)]
        return next((_read(part) for part in parts if part.content_type.essence == FAILURE_TYPE), None)
    except (SyntaxFault, Refusal):
        return None


def _read(part: Entity) -> Report | None:
    version = part.content_type.param("version") or sipfrag.VERSION
    fragment = sipfrag.parse(part.decoded(), version=version, strict=False)
    to, call_id, cseq = (fragment.header(name) for name in ("to", "call-id", "cseq"))
    if fragment.kind is not sipfrag.Kind.RESPONSE or to is None or call_id is None or cseq is None:
        return None
    number, method = CSeq.parse(cseq)
    if method != "MESSAGE":
        return None
    seconds = _SECONDS.match(fragment.header("retry-after") or "")
    reason = one_line(fragment.reason)[:_MOST_REASON]
    outcome = Outcome(Verdict.FAILED, fragment.status, reason, float(seconds[0]) if seconds else None)
    return Report(f"{call_id} {number}", NameAddr.parse(to).uri, outcome)


def compose_report(text: str, text_type: str, fragment: sipfrag.Fragment, boundary: str) -> tuple[str, bytes]:
    """(Content-Type, body) of a report for people and programs: multipart/mixed of the text and the fragment (FRAG-40).

    boundary: nothing that anybody else could have put into the text. Of the fragment only what a report may tell is said (FRAG-41).
    """
    line = compose_status(fragment.status, fragment.reason or PHRASES.get(fragment.status, "")).removesuffix(b"\r\n")
    said = excerpt(replace(fragment, start_line=line), REPORTED)
    notice = (("Content-Type", FAILURE_TYPE), ("Content-Disposition", "notification; handling=optional"))
    parts = (Entity.compose((("Content-Type", text_type),), text.encode()), Entity.compose(notice, said))
    delimiter = f"--{boundary}".encode()
    return f"{MIXED};boundary={boundary}", b"".join([b"%b\r\n%b\r\n" % (delimiter, part.raw) for part in parts]) + delimiter + b"--\r\n"
