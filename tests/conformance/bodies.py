"""A body of every type that a MESSAGE to the gateway may carry, which shows "said"."""

from __future__ import annotations

BOUNDARY = "b1"
FILE_TRANSFER = "application/vnd.gsma.rcs-ft-http+xml"
LOCATION = "application/vnd.gsma.rcspushlocation+xml"
URL = "https://files.example/said.mov?id=1&k=2"


def multipart(*parts: str) -> bytes:
    """What a multipart with BOUNDARY contains."""
    return ("".join(f"--{BOUNDARY}\r\n{part}\r\n" for part in parts) + f"--{BOUNDARY}--\r\n").encode()


def file_transfer(url: str = URL, name: str = "said.mov") -> bytes:
    """A file that is uploaded already, with its thumbnail (RCS-10)."""
    escaped = url.replace("&", "&amp;")
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp">
<file-info type="thumbnail"><file-size>9</file-size><content-type>image/png</content-type>
<data url="https://files.example/thumb" until="2030-10-10T00:00:00Z"/></file-info>
<file-info type="file"><file-size>1234</file-size><file-name>{name}</file-name><content-type>video/quicktime</content-type>
<data url="{escaped}" until="2030-10-10T00:00:00Z"/></file-info></file>
""".encode()


def location(label: str = "said") -> bytes:
    """A position (RCS-10)."""
    return f"""<rcsenvelope xmlns="urn:gsma:params:xml:ns:rcs:rcs:geolocation" xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10"
 xmlns:gml="http://www.opengis.net/gml" xmlns:gs="http://www.opengis.net/pidflo/1.0" entity="tel:+15551234">
<rcspushlocation id="a" label="{label}"><gp:geopriv><gp:location-info><gs:Circle srsName="urn:ogc:def:crs:EPSG::4326">
<gml:pos>48.731964 -3.45829</gml:pos><gs:radius uom="urn:ogc:def:uom:EPSG::9001">10</gs:radius></gs:Circle></gp:location-info></gp:geopriv>
</rcspushlocation></rcsenvelope>""".encode()


PLAIN = "Content-Type: text/plain\r\n\r\nsaid"
RICH = "Content-Type: text/html\r\n\r\n<p>said <b>so</b></p>"
CPIM = b"From: <im:romeo@stoxgate.test>\r\nTo: <im:juliet@xmpp.test>\r\n\r\nContent-Type: text/plain\r\n\r\nsaid"
EXTERNAL = f'message/external-body; access-type=URL; URL="{URL}"; expiration="Fri, 10 Oct 2030 00:00:00 GMT"'
_NOTIFIED = "<message-id>none</message-id><display-notification><status/></display-notification>"
NEWS = {
    "message/imdn+xml": f"<imdn xmlns='urn:ietf:params:xml:ns:imdn'>{_NOTIFIED}</imdn>".encode(),
    "message/sipfrag": b"SIP/2.0 404 Not Found\r\nTo: <sip:nobody@stoxgate.test>\r\nCall-ID: none\r\nCSeq: 1 MESSAGE\r\n",
    "application/im-iscomposing+xml": b"<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>idle</state></isComposing>",
}
"""What says something of a message that nobody has sent, or that nobody has begun to type, by its type."""
SAMPLES = {
    "text/plain": ("text/plain", b"said"),
    "text/html": ("text/html", b"<p>said</p>"),
    "message/cpim": ("message/cpim", CPIM),
    "multipart/mixed": (f"multipart/mixed; boundary={BOUNDARY}", multipart(PLAIN)),
    "multipart/alternative": (f"multipart/alternative; boundary={BOUNDARY}", multipart(PLAIN, RICH)),
    "message/external-body": (EXTERNAL, b"Content-Type: video/quicktime\r\n\r\n"),
    "text/uri-list": ("text/uri-list", f"# said\r\n{URL}\r\n".encode()),
    FILE_TRANSFER: (FILE_TRANSFER, file_transfer()),
    LOCATION: (LOCATION, location()),
}
"""Type -> (Content-Type, body). What shows nothing is in NEWS."""
