"""stoxgate inspect: what a message is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .running import VECTORS, printed, run, said


def test_a_sip_message() -> None:
    text = printed(run("inspect", VECTORS / "e2-request.sip"))
    assert text.startswith("SIP message, valid: MESSAGE sip:mira@xmpp.example\n  Via: SIP/2.0/TCP px.sip.example;branch=z9hG4bKq9zz\n")
    assert text.endswith("  Content-Length: 8\n  [text/plain] 8 octets\n")


def test_a_response() -> None:
    assert printed(run("inspect", VECTORS / "e9-404.sip")).startswith("SIP message, valid: 404 No such subscriber\n")


def test_a_stanza() -> None:
    assert printed(run("inspect", VECTORS / "e1-stanza.xml")) == (
        "XMPP stanza, valid: message\n  from: mira@xmpp.example/Büro PC\n  to: tomas@sip.example\n  id: m-17\n  type: chat\n"
        "  xml:lang: sl\n  <thread> c0ffee-42\n  <body> Kdaj je sestanek?\n"
    )


def test_cpim_inside_a_request_is_shown_too() -> None:
    text = printed(run("inspect", VECTORS / "e12-request.sip"))
    assert "  message/cpim inside:\n    From: Tomas <im:tomas@sip.example>\n" in text
    found = json.loads(printed(run("inspect", "--json", VECTORS / "e12-request.sip")))
    assert found["cpim"]["body"] == [{"depth": 1, "type": "text/plain; charset=utf-8", "octets": 20}]


def test_json_of_a_stanza() -> None:
    found = json.loads(printed(run("inspect", "--json", VECTORS / "e13-stanza.xml")))
    assert (found["kind"], found["valid"], found["what"]) == ("xmpp", True, "message")
    assert found["attributes"] == {"from": "mira@xmpp.example/x", "to": "tomas@sip.example/y", "id": "s2"}
    assert [(child["name"], child["text"]) for child in found["children"]] == [("subject", "Pot"), ("subject", "Route"), ("body", "Prav.")]


def test_a_mime_tree_is_indented() -> None:
    body = b"--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: image/png\r\n\r\npng\r\n--b--\r\n"
    cpim = b"From: <im:a@b>\r\nTo: <im:c@d>\r\n\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + body
    lines = printed(run("inspect", stdin=cpim)).splitlines()
    assert lines[-2:] == ["    [text/plain] 2 octets", "    [image/png] 3 octets"]
    assert lines[-3].startswith("  [multipart/mixed; boundary=b] ")


@pytest.mark.requirement("SEC-23")
def test_foreign_text_cannot_steer_the_terminal() -> None:
    request = (VECTORS / "e2-request.sip").read_bytes().replace(b"Subject: Sestanek", "Subject: a\u202eb\u009bm".encode())
    assert "  Subject: a\\u202eb\\x9bm\n" in printed(run("inspect", stdin=request))


@pytest.mark.parametrize(
    ("octets", "complaint", "answer"),
    [
        (b"MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\r\n", "not a valid SIP message: ", 400),
        (b"<message", "not a valid XMPP stanza: ", None),
        (b"hello", "not a valid message/cpim: This looks neither like a SIP message nor like an XMPP stanza", None),
    ],
)
def test_what_is_invalid_names_its_first_fault(octets: bytes, complaint: str, answer: int | None) -> None:
    assert said(run("inspect", stdin=octets), 1).startswith(complaint)
    done = run("inspect", "--json", stdin=octets)
    facts = json.loads(done.stdout)
    assert done.returncode == 1
    assert (facts["valid"], facts.get("answer")) == (False, answer)
    assert facts["fault"] in done.stderr.decode()


def test_input_that_cannot_be_read_or_is_too_long(tmp_path: Path) -> None:
    assert said(run("inspect", tmp_path / "no"), 2).endswith("cannot be read: No such file or directory")
    assert said(run("inspect", "/dev/zero"), 1) == "/dev/zero: longer than 1048576 octets"


def test_no_configuration_is_needed(tmp_path: Path) -> None:
    assert printed(run("inspect", VECTORS / "e1-stanza.xml", config=tmp_path / "no.toml"))


def test_what_a_body_of_several_parts_shows_is_said() -> None:
    parts = ["Content-Type: text/html\r\n\r\n<b>Prav</b>", "Content-Type: text/uri-list\r\n\r\nhttps://x.example/"]
    content = "".join(f"--b\r\n{part}\r\n" for part in parts) + "--b--\r\n"
    message = f"From: <im:a@b>\r\nTo: <im:c@d>\r\n\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{content}"
    facts = json.loads(printed(run("inspect", "--json", stdin=message.encode())))
    shown = {"text": "Prav", "html": "<strong>Prav</strong>", "links": [{"url": "https://x.example/", "description": ""}]}
    assert facts["shows"] == shown
    said = printed(run("inspect", stdin=message.encode()))
    assert "  shows html: <strong>Prav</strong>\n  shows link: https://x.example/\n" in said


def test_the_files_in_a_message_are_named() -> None:
    head = "From: <im:a@b>\r\nTo: <im:c@d>\r\n\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=a.png\r\n\r\n"
    facts = json.loads(printed(run("inspect", "--json", stdin=head.encode() + b"12345")))
    assert facts["shows"]["files"] == [{"name": "a.png", "type": "image/png", "octets": 5}]
    assert "  shows file: a.png (image/png, 5 octets)\n" in printed(run("inspect", stdin=head.encode() + b"12345"))


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("translate/e15-active.sip", "  [application/im-iscomposing+xml] 155 octets: active, for 90 s\n"),
        ("translate/e15-wrapped.sip", "    [application/im-iscomposing+xml] 132 octets: idle\n"),
        ("sipfrag/report.sip", "    [message/sipfrag] 133 octets: 404 Not Found\n"),
    ],
)
def test_what_a_body_tells_a_program_is_said(file: str, line: str) -> None:
    assert line in printed(run("inspect", VECTORS.parent / file))


def test_what_a_notification_says_is_said() -> None:
    document = "<imdn xmlns='urn:ietf:params:xml:ns:imdn'><message-id>k7</message-id>"
    document += "<display-notification><status><displayed/></status></display-notification></imdn>"
    message = f"From: <im:a@b>\r\nTo: <im:c@d>\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n{document}".encode()
    assert printed(run("inspect", stdin=message)).endswith(" octets: displayed, of k7\n")
    (part,) = json.loads(printed(run("inspect", "--json", stdin=message)))["body"]
    assert part["says"] == "displayed, of k7"
    broken = message.replace(b"</imdn>", b"")
    assert "[message/imdn+xml] " in (found := printed(run("inspect", stdin=broken)))
    assert " octets: (cannot be read: " in found
