"""What the gateway's own addresses answer to an iq: service discovery and ping (XEP-03, XEP-17, XEP-27). Pure."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from .stanza import element, error

_DISCO_INFO = "http://jabber.org/protocol/disco#info"
_DISCO_ITEMS = "http://jabber.org/protocol/disco#items"
_PING = "urn:xmpp:ping"
# XEP-0106 section 7: the feature is spelled with the backslash.
_GATEWAY_FEATURES = (_DISCO_INFO, _DISCO_ITEMS, r"jid\20escaping", _PING)
_USER_FEATURES = (_DISCO_INFO,)


def answer(iq: Element, domain: str) -> str:
    """The reply to an iq that came for `domain` or one of its users, as XML; empty for results and errors, which get none."""
    if iq.get("type") not in ("get", "set"):
        return ""
    content = _result(iq, to_gateway=iq.get("to") == domain)
    if isinstance(content, tuple):
        return _reply(iq, "error", error(*content))
    return _reply(iq, "result", content)


def _result(iq: Element, *, to_gateway: bool) -> str | tuple[str, str, str]:
    """The content of the result, or (condition, type, text) of the error."""
    query = next(iter(iq), None)
    tag = query.tag if query is not None and iq.get("type") == "get" else ""
    if tag == f"{{{_PING}}}ping" and to_gateway:
        return ""
    if tag not in (f"{{{_DISCO_INFO}}}query", f"{{{_DISCO_ITEMS}}}query"):
        return "service-unavailable", "cancel", ""
    assert query is not None
    if query.get("node"):
        return "item-not-found", "cancel", "no such node"
    namespace = tag[1:].partition("}")[0]
    return element("query", {"xmlns": namespace}, _info(to_gateway) if namespace == _DISCO_INFO else "")


def _info(to_gateway: bool) -> str:
    if to_gateway:
        identity = element("identity", {"category": "gateway", "type": "simple", "name": "Stoxgate"})
    else:
        identity = element("identity", {"category": "account", "type": "registered"})
    features = _GATEWAY_FEATURES if to_gateway else _USER_FEATURES
    return identity + "".join(element("feature", {"var": feature}) for feature in features)


def _reply(iq: Element, kind: str, content: str) -> str:
    return element("iq", {"type": kind, "from": iq.get("to", ""), "to": iq.get("from", ""), "id": iq.get("id", "")}, content)
