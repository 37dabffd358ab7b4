"""HTTP File Upload (XEP-0363) without a socket: what is to be uploaded, the question for a slot, and what the service answers.

upload = codec.write(envelope).wire          an Upload, where the message has files
request(file, service, sender, id)           for each of them; a Slot or an Outcome comes back: read_answer(iq, now)
Slot.headers(file)                           the fields of the PUT to Slot.put
read_status(status)                          None when the file is there
upload.stanza(urls)                          only then
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from gateway.core.dates import parse_rfc3339
from gateway.core.errors import SyntaxFault
from gateway.core.files import File
from gateway.core.links import safe_url
from gateway.core.outcome import Outcome, Verdict
from gateway.core.text import one_line

from . import stanza as xml

UPLOAD = "urn:xmpp:http:upload:0"
_PASSED_ON = ("Authorization", "Cookie", "Expires")
"""The only header fields of a slot that a client may send (XEP-0363 section 4)."""
_MOST_HEADER, _MOST_HEADERS, _MOST_REASON = 8192, 8, 128
_MOST_DIGITS = 15
_NEW_LINE = re.compile(r"[\r\n]+")
_HEADER_VALUE = re.compile(r"[ -~]+")
_DONE = (200, 201)
_NOT_NOW = frozenset((
    "internal-server-error", "item-not-found", "recipient-unavailable", "remote-server-not-found", "remote-server-timeout",
    "resource-constraint", "service-unavailable",
))  # fmt: skip
"""Conditions of a service that is not there, or not for now."""
_NOT_FOR_US = frozenset(("forbidden", "not-allowed", "not-authorized", "registration-required", "subscription-required"))
REFUSED = "The upload service of the XMPP server takes no files from this gateway"


@dataclass(frozen=True, slots=True)
class Upload:
    """A message that can be written only when its files are on the service: whole or not at all.

    sender: the bare JID in whose name they are uploaded. stanza: the octets of the message, given the URL of each file.
    """

    sender: str
    files: tuple[File, ...]
    stanza: Callable[[Sequence[str]], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one file. put: where it goes, get: where it is then; passed_on: header fields for the PUT."""

    put: str
    get: str
    passed_on: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def headers(self, file: File) -> dict[str, str]:
        """The header fields of the PUT, but for the length."""
        return {"Content-Type": file.type, **dict(self.passed_on)}


def request(file: File, service: str, sender: str, name: str) -> bytes:
    """The question for a slot, in the name of `sender`; name: the id of the iq."""
    attributes = {"xmlns": UPLOAD, "filename": file.name, "size": str(len(file.octets)), "content-type": file.type}
    return xml.element("iq", {"type": "get", "from": sender, "to": service, "id": name}, xml.element("request", attributes)).encode()


def read_answer(iq: Element, now: float) -> Slot | Outcome:
    """What the service says to it. now: POSIX seconds."""
    if iq.get("type") == "error":
        return _refusal(iq, now)
    put, get = iq.find(f"{{{UPLOAD}}}slot/{{{UPLOAD}}}put"), iq.find(f"{{{UPLOAD}}}slot/{{{UPLOAD}}}get")
    if put is None or get is None:
        return _later("The upload service has answered without a slot")
    where, there = safe_url(put.get("url", "")), safe_url(get.get("url", ""))
    if not where.isascii() or not there or not _is_private(where):
        return _later("The upload service has given a URL that is not used: https is needed, or http on this machine")
    return Slot(where, there, _passed_on(put))


def read_status(status: int) -> Outcome | None:
    """What the HTTP status of a PUT says; None for a file that is there. Any other may be better with another slot."""
    if status in _DONE:
        return None
    if status == 413:
        return _too_large("")
    return _later(f"The upload service has answered HTTP {status}" + (", which is not followed" if 300 <= status < 400 else ""))


def unreachable(why: str) -> Outcome:
    """The file could not be brought to its slot."""
    return _later(f"The upload service cannot be reached: {why}")


TIMED_OUT = Outcome(Verdict.LATER, 408, "The upload service does not answer")


def _later(reason: str, seconds: float | None = None) -> Outcome:
    return Outcome(Verdict.LATER, 503, one_line(reason)[:_MOST_REASON], seconds)


def _too_large(most: str) -> Outcome:
    is_number = most.isascii() and most.isdigit() and len(most) <= _MOST_DIGITS
    bound = f" over {most} octets" if is_number else " of this size"
    return Outcome(Verdict.FAILED, 413, f"The upload service of the XMPP server takes no file{bound}")


def _refusal(iq: Element, now: float) -> Outcome:
    """A temporary error, or one that stays: too large, a type that is not wanted, nobody who may."""
    error = xml.child(iq, "error")
    if error is None:
        return _later("The upload service has answered with an error")
    too_large = error.find(f"{{{UPLOAD}}}file-too-large")
    if too_large is not None:
        return _too_large((too_large.findtext(f"{{{UPLOAD}}}max-file-size") or "").strip())
    found = [xml.split_name(each.tag) for each in error]
    condition = next((local for namespace, local in found if namespace == xml.STANZAS and local != "text"), "undefined-condition")
    retry = error.find(f"{{{UPLOAD}}}retry")
    if error.get("type") == "wait" or condition in _NOT_NOW or retry is not None:
        return _later(f"The upload service says {condition}", _seconds_until(retry, now))
    if condition in _NOT_FOR_US:
        return Outcome(Verdict.FAILED, 403, REFUSED)
    human = one_line(error.findtext(f"{{{xml.STANZAS}}}text") or "")
    return Outcome(Verdict.FAILED, 415, f"The upload service of the XMPP server refuses the file: {human or condition}"[:_MOST_REASON])


def _seconds_until(retry: Element | None, now: float) -> float | None:
    try:
        return max(0.0, parse_rfc3339(retry.get("stamp", "")).timestamp() - now) if retry is not None else None
    except SyntaxFault:
        return None


def _passed_on(put: Element) -> tuple[tuple[str, str], ...]:
    """Each of the three at most once, without line ends (XEP-0363 section 4); one that no header line can hold is left out."""
    known = {name.lower(): name for name in _PASSED_ON}
    found: dict[str, str] = {}
    for each in put.findall(f"{{{UPLOAD}}}header")[:_MOST_HEADERS]:
        name = known.get(_NEW_LINE.sub("", each.get("name", "")).strip().lower())
        value = _NEW_LINE.sub("", each.text or "").strip()
        if name and len(value) <= _MOST_HEADER and _HEADER_VALUE.fullmatch(value):
            found.setdefault(name, value)
    return tuple(found.items())


def _is_private(url: str) -> bool:
    """Whether nobody on the way can read what goes there: https, or http to this very machine."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    return parts.username is None and bool(host) and (parts.scheme == "https" or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
