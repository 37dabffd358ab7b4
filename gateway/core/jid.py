"""JIDs as values (RFC 7622), and the escaping of characters that a localpart cannot hold (XEP-0106)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from precis_i18n import get_profile
from precis_i18n.profile import Profile

from .domain import unicode_domain
from .errors import SyntaxFault
from .remember import remembered

_LOCAL_PROFILE = get_profile("UsernameCaseMapped")
_RESOURCE_PROFILE = get_profile("OpaqueString")
_PLAIN_LOCAL = re.compile(r"[a-z0-9!#$%()*+,\-.;=?\[\\\]^_`{|}~]+")
_PLAIN_RESOURCE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_NOT_IN_LOCAL = frozenset("\"&'/:<>@ ")
_MOST_OCTETS = 1023
_MOST_READ_CHARS = 4 * _MOST_OCTETS
"""Longer than this, no part can shrink to its limit by being enforced, and enforcing takes microseconds a character (REL-28)."""

_CONTEXTUAL = re.compile("[\u00b7\u0375\u05f3\u05f4\u0660-\u0669\u06f0-\u06f9\u200c\u200d\u30fb\uff65]")
_MOST_CONTEXTUAL = 64
"""Each of these has the whole text searched (RFC 5892 appendix A); no name has so many, and a thousand take a second (REL-28)."""

_ESCAPES = {" ": r"\20", '"': r"\22", "&": r"\26", "'": r"\27", "/": r"\2f", ":": r"\3a", "<": r"\3c", ">": r"\3e", "@": r"\40"}
_TO_ESCAPE = re.compile(r"[ \"&'/:<>@]")
_ESCAPE_LIKE = re.compile(r"\\(?=20|22|26|27|2f|3a|3c|3e|40|5c)")
_ESCAPED = re.compile(r"\\(20|22|26|27|2f|3a|3c|3e|40|5c)")


@dataclass(frozen=True, slots=True)
class Jid:
    """`local@domain/resource`, each part enforced; `local` and `resource` may be empty."""

    local: str
    domain: str
    resource: str = ""

    @staticmethod
    def parse(text: str) -> Jid:
        """Read and enforce a JID (RFC 7622 section 3). Raises SyntaxFault.

        >>> Jid.parse("Mira@XMPP.example/Büro PC")
        Jid(local='mira', domain='xmpp.example', resource='Büro PC')
        """
        return _parse(text)

    @property
    def bare(self) -> Jid:
        """The same without the resource."""
        return Jid(self.local, self.domain) if self.resource else self

    def with_resource(self, resource: str) -> Jid:
        """The same person on another device; the resource is enforced. Raises SyntaxFault."""
        return Jid(self.local, self.domain, _enforced_resource(resource)) if resource else self.bare

    def __str__(self) -> str:
        bare = f"{self.local}@{self.domain}" if self.local else self.domain
        return f"{bare}/{self.resource}" if self.resource else bare


@remembered(4096)
def _parse(text: str) -> Jid:
    rest, slash, resource = text.partition("/")
    local, at, domain = rest.partition("@")
    if not at:
        local, domain = "", rest
    if (slash and not resource) or (at and not local) or not domain:
        raise SyntaxFault("Bad JID", section="RFC 7622 section 3.1")
    return Jid(enforced_local(local) if local else "", unicode_domain(domain), _enforced_resource(resource) if slash else "")


@remembered(4096)
def enforced_local(local: str) -> str:
    """A localpart in its enforced form (UsernameCaseMapped without the nine characters, RFC 7622 section 3.3). Raises SyntaxFault."""
    if len(local) > _MOST_READ_CHARS:
        raise SyntaxFault("JID localpart too long", section="RFC 7622 section 3.3")
    enforced = local if _PLAIN_LOCAL.fullmatch(local) else _enforced(_LOCAL_PROFILE, local, "localpart", "RFC 7622 section 3.3")
    if _NOT_IN_LOCAL & set(enforced):
        raise SyntaxFault("Character not allowed in a JID localpart", section="RFC 7622 section 3.3.1")
    if len(enforced.encode()) > _MOST_OCTETS:
        raise SyntaxFault("JID localpart too long", section="RFC 7622 section 3.3")
    return enforced


def _enforced_resource(resource: str) -> str:
    if len(resource) > _MOST_READ_CHARS:
        raise SyntaxFault("JID resource too long", section="RFC 7622 section 3.4")
    enforced = (
        resource if _PLAIN_RESOURCE.fullmatch(resource) else _enforced(_RESOURCE_PROFILE, resource, "resource", "RFC 7622 section 3.4")
    )
    if len(enforced.encode()) > _MOST_OCTETS:
        raise SyntaxFault("JID resource too long", section="RFC 7622 section 3.4")
    return enforced


def _enforced(profile: Profile, text: str, part: str, section: str) -> str:
    if len(_CONTEXTUAL.findall(text)) > _MOST_CONTEXTUAL:
        raise SyntaxFault(f"Bad JID {part} (too many characters that depend on others)", section=section)
    try:
        return str(profile.enforce(text))
    except UnicodeEncodeError as error:
        raise SyntaxFault(f"Bad JID {part} ({error.reason})", section=section) from None


def escape_local(text: str) -> str:
    """Write decoded, case-mapped text as a localpart: the backslash that would start an escape first, then the nine characters.

    >>> escape_local("o'malley")
    'o\\\\27malley'

    Raises SyntaxFault for a text that begins or ends with a space, or that no localpart can hold (ADDR-05 to ADDR-09).
    """
    if text.startswith(" ") or text.endswith(" "):
        raise SyntaxFault("Address begins or ends with a space", section="XEP-0106 section 3.2")
    escaped = _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], _ESCAPE_LIKE.sub(r"\\5c", text))
    if enforced_local(escaped) != escaped:
        raise SyntaxFault("Address has no stable JID localpart", section="RFC 7622 section 3.3")
    return escaped


def unescape_local(local: str) -> str:
    """Undo all ten XEP-0106 escapes of a localpart, once. What only looks like an escape stays (ADDR-18).

    Raises SyntaxFault for a localpart that `escape_local` would never have written: it shares its other form with another
    account (ADDR-26).
    """
    if "\\" not in local:
        return local
    text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), local)
    if escape_local(text) != local:
        raise SyntaxFault("JID localpart is not in normal form", section="XEP-0106 section 4.2")
    return text


@lru_cache(maxsize=4096)
def xmpp_uri(jid: Jid) -> str:
    """The JID as an xmpp: URI (RFC 5122 section 2).

    >>> xmpp_uri(Jid("mira", "xmpp.example", "Büro PC"))
    'xmpp:mira@xmpp.example/B%C3%BCro%20PC'
    """
    local = f"{quote(jid.local, safe=_URI_SAFE)}@" if jid.local else ""
    resource = f"/{quote(jid.resource, safe=_URI_SAFE)}" if jid.resource else ""
    return f"xmpp:{local}{quote(jid.domain, safe=_URI_SAFE + '[]:')}{resource}"


def jid_from_xmpp_uri(text: str) -> Jid:
    """The JID that an xmpp: URI names; an authority and a query are not part of it. Raises SyntaxFault (RFC 5122 section 2)."""
    scheme, _, rest = text.partition(":")
    path = rest.partition("#")[0].partition("?")[0]
    if path.startswith("//"):
        path = path[2:].partition("/")[2]
    if scheme.lower() != "xmpp" or not path:
        raise SyntaxFault("Bad xmpp URI", section="RFC 5122 section 2")
    # The separators are raw; the parts are split before they are decoded, so that an encoded "@" or "/" stays in its part.
    rest, slash, resource = path.partition("/")
    local, at, domain = rest.rpartition("@")
    local, domain, resource = (_uri_part(part) for part in (local, domain, resource))
    if not domain or (at and not local) or (slash and not resource):
        raise SyntaxFault("Bad xmpp URI", section="RFC 5122 section 2")
    return Jid(enforced_local(local) if local else "", unicode_domain(domain), _enforced_resource(resource) if resource else "")


def _uri_part(raw: str) -> str:
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeError:  # also where the text itself holds half of a surrogate pair, as an argument on a command line may
        raise SyntaxFault("Bad UTF-8 in xmpp URI", section="RFC 5122 section 2") from None


_URI_SAFE = "-._~!$'()*+,;="
