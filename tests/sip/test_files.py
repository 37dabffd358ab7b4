"""What is no text, in a MESSAGE: taken where there is an upload service, as it came; else 415."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.content import content_of
from gateway.core.envelope import Envelope
from gateway.core.errors import Refusal
from gateway.core.files import File
from gateway.core.ports import Peer
from gateway.sip.uas import Uas
from tests.sip.rig import SECRET, guard, request, settings, tables
from tests.sip.sample import read

PLAIN = settings()
CONFIG = replace(PLAIN, xmpp=replace(PLAIN.xmpp, upload="upload.xmpp.example"))
UAS, WITHOUT = (Uas(guard(each), tables(), each, SECRET, frozenset()) for each in (CONFIG, PLAIN))
PNG = b"\x89PNG\r\n\x1a\n\x00"


def taken(uas: Uas = UAS, body: bytes = PNG, **changes: str) -> Envelope:
    found = uas.message(read(request(body=body, **changes)), Peer("udp:127.0.0.1"), "trace", 1_770_000_000.0)
    assert isinstance(found, Envelope)
    return found


def accept(uas: Uas) -> list[str]:
    return dict(uas.options(read(request("OPTIONS", body=b""))).extra)["Accept"].split(", ")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"content_type": "image/png"}, "file.png"),
        ({"content_type": "image/png;name=a.png", "content_disposition": "attachment"}, "a.png"),
        ({"content_type": "text/plain", "content_disposition": 'attachment;filename="a.txt"'}, "a.txt"),
    ],
)
def test_a_file_is_kept_as_it_came_also_on_disk(changes: dict[str, str], name: str) -> None:
    envelope = Envelope.from_cpim(taken(UAS, PNG, **changes).to_cpim())
    assert envelope.message.entity.content == PNG
    assert content_of(envelope.message.entity, files=True).files == (File(name, changes["content_type"].partition(";")[0], PNG),)


def test_a_file_in_message_cpim_keeps_every_octet() -> None:
    body = b"From: <im:romeo@sip.example>\r\nTo: <im:juliet@xmpp.example>\r\n\r\nContent-Type: image/png\r\n\r\n" + PNG
    assert taken(body=body, content_type="message/cpim").message.raw == body


@pytest.mark.parametrize("kind", ["image/png", "application/x-msdownload", "multipart/mixed;boundary=b"])
def test_without_a_service_there_is_no_file(kind: str) -> None:
    body = b"--b\r\nContent-Type: image/png\r\n\r\n" + PNG + b"\r\n--b--\r\n" if "b" in kind.partition("=")[2] else PNG
    taken(body=body, content_type=kind)
    with pytest.raises(Refusal, match="type-unsupported"):
        taken(WITHOUT, body=body, content_type=kind)


@pytest.mark.parametrize("disposition", ["session", "icon", "signal;handling=optional"])
def test_what_is_there_for_something_else_is_no_file(disposition: str) -> None:
    with pytest.raises(Refusal, match="type-unsupported"):
        taken(content_type="image/png", content_disposition=disposition)


@pytest.mark.requirement("IMSG-21", "SIP-88")
def test_options_says_that_all_types_are_taken_and_a_415_names_what_is_text() -> None:
    assert accept(UAS) == [*accept(WITHOUT), "*/*"]
    said = dict(UAS.refused(Refusal("type-unsupported")).extra)["Accept"]
    assert "*/*" not in said
    assert said.startswith("text/plain, ")
