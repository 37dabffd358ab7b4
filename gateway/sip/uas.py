"""What is checked of a new request, in the order of RFC 3261 section 8.2 (SIP-70 to SIP-83): the first check that fails answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from gateway.core.canonical import FAILURE_TYPE, TYPING_TYPE
from gateway.core.codings import CODINGS, undone
from gateway.core.content import FILE_TRANSFER, LOCATION
from gateway.core.cpim import CPIM_TYPE
from gateway.core.digest import digest
from gateway.core.domain import ascii_domain
from gateway.core.envelope import Envelope, home_uri
from gateway.core.errors import Refusal, SyntaxFault
from gateway.core.imdn import NOTIFICATION_TYPE
from gateway.core.mime import MIXED, Entity
from gateway.core.ports import Notice, Parties, Peer, Policy, Security
from gateway.core.protection import CLEAR_SIGNED, CMS_TYPE
from gateway.core.remember import remembered
from gateway.core.settings import Settings
from gateway.core.tables import Tables
from gateway.core.uri import Uri
from gateway.core.verdict import NOT_CHECKED, Verdict

from . import writer
from .endpoint import Answer
from .entity import outer_of, protected_body
from .failures import Report
from .identity import hidden, is_from_another, named, senders, unnamed, wants_privacy
from .message import METHODS, Request
from .reading import date_of, is_bare_fragment, is_dated, read_message, read_news, report_in
from .signed_dates import SignedDates, is_signed

SERVED = ("MESSAGE", "OPTIONS", "CANCEL")
ALLOW = ", ".join(SERVED)
PROTECTED = (CLEAR_SIGNED, CMS_TYPE)
ACCEPT = ", ".join(
    [
        "text/plain",
        "text/html",
        CPIM_TYPE,
        NOTIFICATION_TYPE,
        FAILURE_TYPE,
        TYPING_TYPE,
        MIXED,
        "multipart/alternative",
        *PROTECTED,
        "message/external-body",
        "text/uri-list",
        FILE_TRANSFER,
        LOCATION,
    ]
)
"""What a MESSAGE may carry as text or as it is; a 415 must not name more than that (IMSG-21)."""
_UNPROTECTED = ", ".join([each for each in ACCEPT.split(", ") if each not in PROTECTED])
_ANY = f"{ACCEPT}, */*"
"""Where files are uploaded, OPTIONS says so (RFC 3261 section 20.1). A 415 does not: what it answers is no file."""
_SCHEMES = ("sip", "sips", "im")
_OF_NO_MESSAGE = frozenset(("accept", "accept-encoding", "accept-language", "alert-info", "contact", "record-route"))
"""What a MESSAGE does not have (RFC 3428 section 9) and older clients send."""
_IM_ROUTE = re.compile(rb"<[ \t]*+im:", re.I)
"""What never stands in Route and Record-Route (RFC 3428 section 5, MSG-78)."""


class Uas:
    """The checks. sent_by: our Via hosts and ports; they tell loops, and under them the gateway itself is meant.

    security: None only carries what is signed or encrypted. dates: None asks for no date, as of what is not on its way now.
    """

    def __init__(
        self,
        policy: Policy,
        tables: Tables,
        settings: Settings,
        secret: bytes,
        sent_by: frozenset[str],
        security: Security | None = None,
        dates: SignedDates | None = None,
    ) -> None:
        self._policy, self._tables, self._settings, self._security = policy, tables, settings, security
        self.dates = dates
        self._secret, self._sent_by = secret, sent_by
        self._own_marks = tuple(own.encode() for own in sent_by)
        status = settings.sip.accepted_status
        self.accepted = Answer(status, writer.PHRASES[status])
        """202, or what `[sip] accepted_status` says (IMSG-22)."""
        self._schemes = (*_SCHEMES, "tel") if tables.numbers.domain else _SCHEMES
        self._who = remembered(4096)(self._find_who)
        self._own_name = ascii_domain(settings.name)

    def peer(self, transport: str, host: str) -> Peer:
        """Who sent it (SIP-73). Raises Refusal."""
        return self._policy.peer(transport, host)

    def method(self, request: Request) -> None:
        """Whether the method is served (SIP-75, MSG-05), and whether the request has been here before (TRN-34). Raises Refusal."""
        if request.method not in SERVED:
            raise Refusal("method-not-allowed" if request.method in METHODS else "method-unknown")
        for own in self._own_marks:
            for value in request.via_values:
                if own in value and self._has_own_via(request):
                    raise Refusal("loop")

    def _find_who(self, uri_text: str) -> bytes:
        return named(Uri.parse(uri_text), self._tables.numbers).encode()

    def _has_own_via(self, request: Request) -> bool:
        return any(via.sent_by in self._sent_by for via in request.vias)

    def message_key(self, request: Request) -> int:
        """The digest by which a message is known on another branch: recipient, sender, From tag, Call-ID, CSeq number (MSG-19)."""
        tag = (request.from_.tag or "").encode()
        return digest(
            self._secret,
            self._who(request.request_uri.text),
            self._who(request.from_.uri.text),
            tag,
            request.call_id.encode(),
            b"%d" % request.cseq.number,
        )

    def options(self, request: Request, local: str = "") -> Answer:
        """The answer to OPTIONS: as far as the target goes, what a MESSAGE to it would meet (SIP-88). Raises Refusal.

        local: the address of ours that it was sent to, "192.0.2.1:5060", where that is known.
        """
        self._scheme(request)
        if not self._is_ours(request.request_uri, local):
            self._policy.reaches(request.request_uri)
        self._hops_and_extensions(request)
        codings, accept = self._accepted(request.from_.uri.host or ""), _ANY if self._settings.xmpp.upload else ACCEPT
        return Answer(
            200, "OK", (("Allow", ALLOW), ("Accept", accept), ("Accept-Encoding", codings), ("Accept-Language", "*"), ("Supported", ""))
        )

    def message(
        self, request: Request, peer: Peer, trace_id: str, now: float, local: str = "", *, unknown: bool = False
    ) -> Envelope | tuple[Notice, ...] | None:
        """A MESSAGE that may be kept, as an envelope, or what it says of other messages; None for one without content. Raises Refusal.

        now: POSIX seconds. local: as for `options`. unknown: what it reports of is not known, so it is what it is beside the report.
        """
        self._scheme(request)
        target = request.to.uri if self._is_ours(request.request_uri, local) else request.request_uri
        codings = _codings_of(request)
        protected = protected_body(request) if not codings else None
        report = report_in(request) if not codings and protected is None else None
        if report is not None:
            self._acceptable(request)
            notices = () if unknown else self._news(request, report, peer, target)
            if notices or is_bare_fragment(request):
                return notices
        parties = self._parties(request, peer, target)
        self._acceptable(request)
        if codings:
            request = self._decoded(request, codings, parties.sender.domain)
            protected = protected_body(request)
        dated = self._dated(request, protected, peer, now)
        # What is protected is nobody's but its recipient's to read.
        news = read_news(request, parties) if protected is None else None
        return self._read(request, parties, peer, trace_id, now, dated) if news is None else news

    def _dated(self, request: Request, body: Entity | None, peer: Peer, now: float) -> Verdict:
        """What its Date says of a request with a signed body (MSG-81). Raises Refusal."""
        if not self.dates or body is None or not is_signed(body):
            return NOT_CHECKED
        return self.dates.judge(date_of(request), self.message_key(request), peer, now)

    def _parties(self, request: Request, peer: Peer, target: Uri) -> Parties:
        """Who writes to whom: of the identities of the sender the first one that is of a served domain (RCS-04). Raises Refusal."""
        *likelier, last = senders(request, self._tables.numbers)
        for uri in likelier:
            try:
                return self._policy.from_sip(peer, uri, target)
            except Refusal as refusal:
                if refusal.key != "sender-not-served":
                    raise
        return self._policy.from_sip(peer, last, target)

    def _read(self, request: Request, parties: Parties, peer: Peer, trace_id: str, now: float, dated: Verdict) -> Envelope | None:
        numbers, files = self._tables.numbers, bool(self._settings.xmpp.upload)
        if wants_privacy(request):
            read = read_message(request, unnamed(parties), peer.label, trace_id, now, numbers, files=files)
            read = hidden(read, home_uri(parties.sender, parties.sender_device)) if read else None
        else:
            read = read_message(request, parties, peer.label, trace_id, now, numbers, files=files)
        if read is None or read.volatile:
            return read
        if read.verdict and self._settings.route(parties.sender.domain).smime == "never":
            raise Refusal("type-unsupported", "Signed and encrypted messages are not carried here", (("Accept", _UNPROTECTED),))
        if read.verdict:
            read = replace(read, verdict=dated)
        return self._security.arrived(read, outer_of(request, may_be_late=peer.store_and_forward)) if self._security else read

    def _news(self, request: Request, report: Report, peer: Peer, target: Uri) -> tuple[Notice, ...]:
        """What a report says, to whom it is sent, of a request that went to where its peer speaks for (FRAG-42, FRAG-45).

        Its sender is believed if he is whom the request went to, or is no user of a served domain: a gateway or a server that has a name.
        Another user's is no report (FRAG-31, FRAG-32). Nothing for what cannot be about anything, which tells nothing of who exists.
        """
        if report.outcome.status < 300:
            return ()
        try:
            whom, (author, _) = self._tables.numbers.address(report.to).normal, self._policy.reaches(target)
        except (Refusal, SyntaxFault):
            return ()
        is_heard = (peer.domains is None or whom.domain in peer.domains) and self._is_believed(request, str(whom), peer, target)
        return (Notice((report.name, str(whom), str(author)), report.outcome, is_report=True),) if is_heard else ()

    def _is_believed(self, request: Request, whom: str, peer: Peer, target: Uri) -> bool:
        """Whether the sender may say what became of a request to `whom`. Who hides who he is may not, unless he is asserted to be that."""
        uris = senders(request, self._tables.numbers)
        if whom in [named(uri, self._tables.numbers) for uri in uris]:
            return True
        return not wants_privacy(request) and not any(self._is_user(uri, peer, target) for uri in uris)

    def _is_user(self, uri: Uri, peer: Peer, target: Uri) -> bool:
        """Whether a sender is somebody of a served domain, or cannot be told from one."""
        try:
            if not self._tables.numbers.address(uri).user:
                return False
            self._policy.from_sip(peer, uri, target)
        except SyntaxFault:
            return True
        except Refusal as refusal:
            return refusal.key != "sender-not-served"
        return True

    def _acceptable(self, request: Request) -> None:
        """What any MESSAGE has to be. Raises Refusal."""
        self._hops_and_extensions(request)
        if any(_IM_ROUTE.search(value) for name in ("route", "record-route") for value in request.index.get(name, ())):
            raise Refusal("bad-syntax", "An im: URI is no route")
        if request.to.tag is not None:
            raise Refusal("no-dialog")

    def _decoded(self, request: Request, codings: str, domain: str) -> Request:
        """The request without the coding of its body, where the route of its sender's domain says so (IMSG-21, SEC-33)."""
        accepted = (("Accept-Encoding", self._accepted(domain)),)
        if not self._settings.route(domain).decode:
            raise Refusal("encoding-unsupported", headers=accepted)
        try:
            body = undone(request.body, codings)
        except Refusal as refusal:
            raise Refusal(refusal.key, refusal.detail, accepted) from None
        except SyntaxFault as fault:
            raise Refusal("bad-body", fault.what) from None
        return Request(request.method, request.request_uri_text, request.lines, request.index, request.repeated, body)

    def _accepted(self, domain: str) -> str:
        """The value of Accept-Encoding towards a SIP domain."""
        return ", ".join([*(CODINGS if self._settings.route(domain).decode else ()), "identity"])

    def oddities(self, request: Request, read: Envelope | tuple[Notice, ...]) -> Iterator[str]:
        """What was let pass in a message that is taken: the names by which it is counted.

        "unused": headers that a MESSAGE does not have (MSG-90). "undated": a Date that is none (MSG-55). "lenient": message/cpim that its
        grammar forbids (CPIM-04, CPIM-22), that says another length (CPIM-05), or that names no author (CPIM-30). "misnamed": it names
        another author than the sender, who is the author all the same (CPIM-35).
        """
        if not _OF_NO_MESSAGE.isdisjoint(request.index):
            yield "unused"
        if "date" in request.index and not is_dated(request):
            yield "undated"
        if isinstance(read, Envelope) and (read.message.notes or read.message.first("From") is None):
            yield "lenient"
        if isinstance(read, Envelope) and is_from_another(read, self._tables.numbers):
            yield "misnamed"

    def _scheme(self, request: Request) -> None:
        """416 for a scheme that is not served, as tel without an E.164 domain (SIP-58); sips is understood and not translated.

        SIP-57, SIP-59, IMSG-31.
        """
        uri = request.request_uri
        if uri.scheme not in self._schemes:
            raise Refusal("scheme-unsupported")
        if "sips" in (uri.scheme, request.to.uri.scheme):
            raise Refusal("sips-not-allowed")

    def _is_ours(self, uri: Uri, local: str) -> bool:
        """Whether it names the gateway: by its name, or by an address that it listens on, where a port that it says must be ours too."""
        if uri.user is not None or not uri.host:
            return False
        named = f"{uri.host}:{uri.port or ''}"
        return uri.host == self._own_name or any(own == named or own.rpartition(":")[0] + ":" == named for own in (*self._sent_by, local))

    def _hops_and_extensions(self, request: Request) -> None:
        if request.max_forwards == 0 and request.method == "MESSAGE":
            raise Refusal("too-many-hops")
        if request.require:
            raise Refusal("extension-required", headers=(("Unsupported", ", ".join(request.require)),))

    def answered(self, envelope: Envelope, *, is_kept: bool) -> None:
        """The Sink has decided on what `message` gave."""
        if self._security:
            self._security.answered(envelope, is_kept=is_kept)

    # -- answers -------------------------------------------------------------------------------------------------------
    def refused(self, refusal: Refusal) -> Answer:
        """The response for a refusal: the row of the table, with the headers that its status needs (ERR-10)."""
        row = self._tables.refusal(refusal.key)
        extra = list(refusal.headers)
        if row.sip in (405, 501):
            extra.append(("Allow", ALLOW))
        if row.sip == 415 and refusal.key != "encoding-unsupported" and "Accept" not in dict(refusal.headers):
            extra.append(("Accept", ACCEPT))
        if row.retry_after:
            extra.append(("Retry-After", str(row.retry_after)))
        warning = refusal.detail if row.sip != 400 and refusal.detail else row.warning
        if warning:
            extra.append(("Warning", f"{row.warn_code} {self._settings.name} {writer.quoted(warning)}"))
        reason = refusal.detail if row.sip == 400 and refusal.detail else row.reason
        return Answer(row.sip, reason, tuple(extra))

    def is_lasting(self, refusal: Refusal) -> bool:
        """Whether a retransmission must get this answer again because it would not come out the same a second time."""
        return self._tables.refusal(refusal.key).sip in (480, 482, 503)


def _codings_of(request: Request) -> str:
    """The Content-Encoding of a body; empty where it is there as it is."""
    if not request.body or "content-encoding" not in request.index:
        return ""
    codings = ", ".join(request.values("content-encoding"))
    return "" if codings.lower() == "identity" else codings
