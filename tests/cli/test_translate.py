"""stoxgate translate, beside the worked examples: how it reads, what it explains, whom it lets speak, and how it says no."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from .running import CONFIG, VECTORS, Done, misused, printed, run, said, with_numbers, written

E1, E2 = VECTORS / "e1-stanza.xml", VECTORS / "e2-request.sip"
REQUEST = E2.read_bytes()


def explained(done: Done) -> list[list[str]]:
    """The rows of the table on standard error, a cell is what stands between two blanks and two blanks."""
    assert done.returncode == 0, done
    lines = done.stderr.decode().strip("\n").split("\n")
    starts = [at for at, each in enumerate(lines[1]) if each == "-" and (at == 0 or lines[1][at - 1] == " ")]
    return [[line[at:to].rstrip() for at, to in zip(starts, [*starts[1:], None], strict=True)] for line in (lines[0], *lines[2:])]


# -- input ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("file", [E1, E2])
def test_a_file_a_pipe_and_a_dash_are_the_same(file: Path) -> None:
    octets = file.read_bytes()
    wanted = printed(run("translate", file))
    assert printed(run("translate", stdin=octets)) == wanted
    assert printed(run("translate", "-", stdin=octets)) == wanted
    assert wanted


def test_a_message_out_of_an_editor_has_lf_and_is_read() -> None:
    done = run("translate", "--explain", stdin=REQUEST.replace(b"\r\n", b"\n"))
    assert done.stdout == (VECTORS / "e2-stanza.xml").read_bytes()
    assert done.stderr.decode().endswith("\nnote: line ends of the header section were LF and were read as CRLF\n")


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert said(run("translate", tmp_path / "no"), 2) == f"{tmp_path}/no: cannot be read: No such file or directory"
    assert "is a directory" in misused(run("translate", tmp_path))
    for nothing in (b"", b" \r\n\n"):
        assert said(run("translate", stdin=nothing), 1) == "-: there is nothing in it"


def test_input_is_bounded_to_one_mebibyte(tmp_path: Path) -> None:
    assert said(run("translate", "/dev/zero"), 1) == "/dev/zero: longer than 1048576 octets"
    assert said(run("translate", stdin=b"x" * 1_048_577), 1) == "-: longer than 1048576 octets"
    assert "longer than" not in said(run("translate", stdin=b"x" * 1_048_576), 1)


def test_the_configuration_and_the_message_cannot_both_be_standard_input() -> None:
    assert misused(run("translate", "-c", "-", "-", stdin=CONFIG.read_bytes())).startswith("standard input cannot be both")


def test_what_is_no_message_is_said_to_be_none() -> None:
    line = said(run("translate", stdin=b"hello\n"), 1)
    assert line.startswith("refused: 400 Bad Request: This looks neither like a SIP message nor like an XMPP stanza, and it is no ")


@pytest.mark.parametrize("octets", [b"<message", b"<message/><message/>", b"<!DOCTYPE x><message/>", b"<message>&lol;</message>"])
def test_a_stanza_that_is_none_is_refused_as_one(octets: bytes) -> None:
    done = run("translate", "--json", stdin=octets)
    assert done.returncode == 1
    assert json.loads(done.stdout)["refused"].keys() == {"xmpp", "type", "reason"}


# -- where to ------------------------------------------------------------------------------------------------------------
def test_to_the_other_side_is_the_default_and_the_own_side_a_usage_error() -> None:
    assert printed(run("translate", "--to", "xmpp", E2)) == printed(run("translate", "--from", "sip", E2))
    assert misused(run("translate", "--to", "sip", E2)) == "the message is sip already"
    assert misused(run("translate", "--to", "xmpp", E1)) == "the message is xmpp already"
    assert "'mail' is not one of" in misused(run("translate", "--to", "mail", E1))


def test_by_way_of_cpim() -> None:
    """What `--to cpim` writes is a message that `translate` takes."""
    cpim = run("translate", "--to", "cpim", "--now", "2026-02-03T09:15:00Z", E2).stdout
    assert cpim.startswith(b'From: "Tomas" <im:tomas@sip.example>\r\nTo: <im:mira@xmpp.example>\r\nDateTime: 2026-02-03T09:15:00Z\r\n')
    stanza = printed(run("translate", "--now", "2026-02-03T09:15:30Z", stdin=cpim))
    assert stanza.startswith("<message from='tomas@sip.example' to='mira@xmpp.example' id='")
    assert stanza.endswith("<subject>Sestanek</subject><body>Ob treh.</body></message>")


def test_cpim_between_people_of_one_side_is_refused() -> None:
    cpim = b"From: <im:a@sip.example>\r\nTo: <im:b@sip.example>\r\n\r\nContent-Type: text/plain\r\n\r\nhi"
    assert "live on the same side" in said(run("translate", stdin=cpim), 1)


def test_a_wrong_from_is_refused_for_what_it_was_said_to_be() -> None:
    assert said(run("translate", "--from", "xmpp", E2), 1).startswith("refused: bad-request (modify): Bad stanza")


# -- output --------------------------------------------------------------------------------------------------------------
def test_json() -> None:
    assert json.loads(printed(run("translate", "--json", E2))) == {"translated": (VECTORS / "e2-stanza.xml").read_text("utf-8")}


def test_json_carries_what_is_not_utf_8_as_base64() -> None:
    cpim = b"From: <im:tomas@sip.example>\r\nTo: <im:mira@xmpp.example>\r\n\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nB\xfcro"
    body = b"message/cpim\r\nContent-Length: %d\r\n\r\n" % len(cpim) + cpim
    request = REQUEST.replace(b"text/plain\r\nContent-Length: 8\r\n\r\nOb treh.", body)
    found = json.loads(printed(run("translate", "--json", "--to", "cpim", stdin=request)))
    assert {name: base64.b64decode(value) for name, value in found.items()} == {"translated_base64": cpim}


def test_explain_leaves_standard_output_alone() -> None:
    assert run("translate", "--explain", E2).stdout == run("translate", E2).stdout


def test_explain_says_what_came_in_what_it_became_and_by_which_rule() -> None:
    heads, *rows = explained(run("translate", "--explain", E1))
    assert heads == ["what came in: XMPP stanza", "what it became: SIP message", "rule", "source"]
    assert ["<thread/>: c0ffee-42", "Call-ID: c0ffee-42", "IMSG-10, IMSG-11, ICPIM-14"] in [row[:3] for row in rows]
    assert ["type: chat", "(not carried)"] in [row[:2] for row in rows]
    assert ["(added by the gateway)", "CSeq: 1 MESSAGE"] in [row[:2] for row in rows]
    assert all("RFC " in row[3] for row in rows)


@pytest.mark.requirement("ISC-08")
@pytest.mark.parametrize(("file", "cells"), [
    ("e15-stanza.xml",
     ["<composing/>, <active/>: <composing/> http://jabber.org/protocol/chatstates", "application/im-iscomposing+xml: active, for 90 s"]),
    ("e15-wrapped.sip", ["application/im-iscomposing+xml: idle",
     "<composing/>, <active/>: <active/> http://jabber.org/protocol/chatstates | <no-store/> urn:xmpp:hints"]),
])  # fmt: skip
def test_explain_names_who_types(file: str, cells: list[str]) -> None:
    rows = [row[:2] for row in explained(run("translate", "--explain", VECTORS / file))]
    assert cells in rows
    assert not any("body" in row[1] for row in rows)


@pytest.mark.parametrize("typing", ["auto", "always", "never"])
def test_a_route_without_typing_refuses_it(tmp_path: Path, typing: str) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(f'{(VECTORS / "gateway.toml").read_text()}\n[[route]]\ndomain = "sip.example"\ntyping = "{typing}"\n')
    done = run("translate", VECTORS / "e15-stanza.xml", config=config)
    assert (done.returncode, b"Typing notices are not wanted there" in done.stderr) == ((1, True) if typing == "never" else (0, False))


def test_explain_names_what_is_lost() -> None:
    more = b"<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/><x xmlns='u:x'/></message>"
    stanza = E1.read_bytes().replace(b"</message>", more)
    cells = [row[:2] for row in explained(run("translate", "--explain", stdin=stanza))]
    assert ["<composing/>, <active/>: <active/> http://jabber.org/protocol/chatstates", "(not carried)"] in cells
    asked = "imdn.Disposition-Notification: positive-delivery, negative-delivery"
    assert ["<request/>, <markable/>: <request/> urn:xmpp:receipts", asked] in cells
    assert ["children of other namespaces: <x/> u:x", "(not carried)"] in cells
    request = REQUEST.replace(b"Subject:", b"User-Agent: px\r\nPriority: urgent\r\nSubject:")
    cells = [row[:2] for row in explained(run("translate", "--explain", stdin=request))]
    assert ["all others: User-Agent", "(not carried)"] in cells
    assert ["Priority: urgent", "(not carried)"] in cells


@pytest.mark.requirement("IMSG-14")
def test_the_name_of_a_sip_user_is_for_a_first_message_and_that_of_an_xmpp_user_for_each() -> None:
    assert "<nick" not in printed(run("translate", E2))
    rows = [row[:3] for row in explained(run("translate", "--explain", E2))]
    assert ["display name of From: Tomas", "<nick/>: (in the first message to somebody)", "IMSG-14, XEP-09, ICPIM-10"] in rows
    no_name = REQUEST.replace(b'"Tomas"', b'"tomas@sip.example"')
    assert no_name != REQUEST
    assert ["display name of From: tomas@sip.example", "(not carried)"] in [
        row[:2] for row in explained(run("translate", "--explain", stdin=no_name))
    ]
    stanza = E1.read_bytes().replace(b"</message>", b"<nick xmlns='http://jabber.org/protocol/nick'>Mira L.</nick></message>")
    assert 'From: "Mira L." <sip:mira@xmpp.example;gr=B%C3%BCro%20PC>;tag=' in printed(run("translate", stdin=stanza))


def test_explain_names_all_whom_a_message_names() -> None:
    request = (VECTORS / "e12-request.sip").read_bytes()
    more = b"To: <im:tomas@sip.example>\r\ncc: <tel:+1555>\r\nDateTime"
    request = request.replace(b"DateTime", more).replace(
        b"Content-Length: 232", b"Content-Length: %d" % (232 + len(more) - len(b"DateTime"))
    )
    cells = [row[:2] for row in explained(run("translate", "--explain", stdin=request))]
    assert [
        "Request-URI, To: sip:mira@xmpp.example | <im:mira@xmpp.example> | <im:tomas@sip.example>",
        "to: mira@xmpp.example | mira@xmpp.example | tomas@sip.example",
    ] in cells
    assert ["cc: <tel:+1555>", "<addresses/>: tel:+1555"] in cells


@pytest.mark.parametrize(
    ("file", "status", "rule"),
    [("e9-404.sip", ["status: 404 No such subscriber", "status: item-not-found"], "ERR-S404"),
     ("e11-error.xml", ["status: service-unavailable", "status: (told in the text)"], "ERR-X19")],
)  # fmt: skip
def test_explain_names_the_row_that_decided_an_error(file: str, status: list[str], rule: str) -> None:
    assert [*status, rule] in [row[:3] for row in explained(run("translate", "--explain", VECTORS / file))]


def test_explain_writes_each_value_in_one_line_that_steers_nothing() -> None:
    stanza = "<message from='mira@xmpp.example' to='tomas@sip.example'><body>a\nb\u202ec</body></message>"
    done = run("translate", "--explain", stdin=stanza.encode())
    assert "body: a\\r\\nb\\u202ec" in done.stderr.decode()


def test_explain_in_json_has_the_fields() -> None:
    fields = json.loads(printed(run("translate", "--json", "--explain", E2)))["fields"]
    assert {"field": "id", "in": "z9hG4bKq9zz", "out": "q9zz", "rule": "IMSG-12, NOTE-02", "source": "RFC 7572 tables 1 and 2"} in fields
    assert all(each.keys() == {"field", "in", "out", "rule", "source"} for each in fields)


@pytest.mark.requirement("ADDR-30", "ADDR-31")
def test_explain_names_the_table_that_decided_an_address(tmp_path: Path) -> None:
    config, where = with_numbers(tmp_path, "tel"), f"{tmp_path}/mappings"
    request = REQUEST.replace(b"<sip:tomas@sip.example;gr=urn:uuid:0a1b>", b"<tel:+1-201-555-0123>")
    assert request != REQUEST
    numbered = json.loads(printed(run("translate", "--json", "--explain", stdin=request, config=config)))["fields"]
    plain = json.loads(printed(run("translate", "--json", "--explain", stdin=REQUEST, config=config)))["fields"]
    source = f"E.164 domain, {where}/domains.toml:1, RFC 3966 section 5.1"
    assert [each["source"] for each in numbered if each["source"] != source] == [
        each["source"] for each in plain if each["field"] != "from"
    ]
    [one] = [each for each in numbered if each["field"] == "from"]
    assert (one["out"], one["source"]) == ("+12015550123@sip.example", source)
    stanza = E1.read_bytes().replace(b"to='tomas@sip.example", b"to='bob@sip.example")
    [two] = [row for row in explained(run("translate", "--explain", stdin=stanza, config=config)) if row[0].startswith("to: ")]
    assert (two[0], two[1], two[3]) == ("to: bob@sip.example", "Request-URI, To: tel:+15551230002", f"user pair, {where}/users.toml:1")


@pytest.mark.requirement("ADDR-30")
def test_a_number_in_message_cpim_is_the_person(tmp_path: Path) -> None:
    cpim = b"From: <tel:+1-201-555-0123>\r\nTo: <im:mira@xmpp.example>\r\n\r\nContent-Type: text/plain\r\n\r\nhi"
    stanza = printed(run("translate", stdin=cpim, config=with_numbers(tmp_path)))
    assert "from='+12015550123@sip.example'" in stanza
    assert said(run("translate", stdin=cpim), 1).startswith("refused: 404 ")


def test_explain_of_a_refusal_names_the_rule() -> None:
    assert said(run("translate", "--explain", VECTORS / "e17-request.sip"), 1).endswith(" SIPS Not Allowed (IMSG-31, SIP-59)")
    done = run("translate", "--explain", "--json", VECTORS / "e17-request.sip")
    assert json.loads(done.stdout)["refused"]["rule"] == "IMSG-31, SIP-59"


@pytest.mark.requirement("IMSG-07", "MSG-32")
@pytest.mark.parametrize(
    "octets",
    [b"<message from='mira@xmpp.example/x' to='tomas@sip.example'><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
     REQUEST.replace(b"Subject: Sestanek\r\n", b"").replace(b"Content-Length: 8\r\n\r\nOb treh.", b"Content-Length: 0\r\n\r\n")],
)  # fmt: skip
def test_a_message_with_nothing_to_deliver_is_no_refusal(octets: bytes) -> None:
    note = "nothing is sent: the message has neither text nor subject (MSG-32, IMSG-07)"
    done = run("translate", "--json", stdin=octets)
    assert (done.returncode, json.loads(done.stdout), done.stderr.decode()) == (0, {"translated": "", "note": note}, f"stoxgate: {note}\n")
    assert run("translate", stdin=octets).stdout == b""


# -- who may speak -------------------------------------------------------------------------------------------------------
@pytest.mark.requirement("SEC-05")
def test_peer_judges_as_if_the_message_came_from_there(tmp_path: Path) -> None:
    config = written(tmp_path, outbound='trusted = ["192.0.2.0/24"]')
    assert printed(run("translate", "--peer", "192.0.2.7", E2, config=config)).startswith("<message ")
    done = run("translate", "--json", "--peer", "198.51.100.7", E2, config=config)
    assert (done.returncode, json.loads(done.stdout)) == (1, {"refused": {"sip": 403, "reason": "Forbidden: This peer is not known here"}})
    assert printed(run("translate", E2, config=config)).startswith("<message ")


def test_a_peer_is_an_ip_address_and_now_a_time() -> None:
    assert "'px.example' is no IP address; write one as 192.0.2.7" in misused(run("translate", "--peer", "px.example", E2))
    assert "'noon' is no time; write one as 2026-02-03T09:15:00Z" in misused(run("translate", "--now", "noon", E2))


@pytest.mark.requirement("SEC-01", "SEC-03")
@pytest.mark.parametrize(
    ("octets", "refused"),
    [
        (REQUEST.replace(b"sip:tomas@sip.example", b"sip:mira@xmpp.example"), {"sip": 403}),
        (REQUEST.replace(b"MESSAGE sip:mira@xmpp", b"MESSAGE sip:mira@nowhere"), {"sip": 404}),
        (REQUEST.replace(b"MESSAGE", b"SUBSCRIBE"), {"sip": 405}),
        (REQUEST.replace(b"MESSAGE", b"FLY"), {"sip": 501}),
        (REQUEST.replace(b"Max-Forwards: 69", b"Max-Forwards: 0"), {"sip": 483}),
        (REQUEST.replace(b"Ob treh.", b"\xff\xfe treh"), {"sip": 400}),
        (REQUEST.replace(b"CSeq: 4 MESSAGE\r\n", b""), {"sip": 400}),
        (E1.read_bytes().replace(b"mira@xmpp", b"mira@sip"), {"xmpp": "forbidden"}),
        (E1.read_bytes().replace(b"tomas@sip", b"tomas@nowhere"), {"xmpp": "item-not-found"}),
        (E1.read_bytes().replace(b"type='chat'", b"type='groupchat'"), {"xmpp": "service-unavailable"}),
    ],
)
def test_what_the_gateway_would_refuse(octets: bytes, refused: dict[str, Any]) -> None:
    done = run("translate", "--json", stdin=octets)
    shape = json.loads(done.stdout)["refused"]
    assert done.returncode == 1
    assert {name: shape[name] for name in refused} == refused
    assert shape["reason"]
    line = said(run("translate", stdin=octets), 1)
    assert line.startswith(f"refused: {next(iter(refused.values()))} ")


@pytest.mark.requirement("XEP-12", "IMSG-19")
def test_explain_says_where_a_link_and_markup_went() -> None:
    beside = "<x xmlns='jabber:x:oob'><url>https://x.example/</url></x><html xmlns='http://jabber.org/protocol/xhtml-im'>"
    markup = "<body xmlns='http://www.w3.org/1999/xhtml'><b>Glej</b></body></html>"
    stanza = f"<message from='mira@xmpp.example' to='tomas@sip.example'><body>Glej</body>{beside}{markup}</message>"
    done = json.loads(printed(run("translate", "--explain", "--json", stdin=stanza.encode())))
    fields = {row["field"]: (row["in"], row["out"]) for row in done["fields"]}
    assert fields["body"] == ("Glej", "Glej\r\nhttps://x.example/")
    assert fields["link"] == ("https://x.example/", "(told in the text)")
    assert fields["html"] == ("<strong>Glej</strong>", "")


def test_explain_says_nothing_of_a_link_where_there_is_none() -> None:
    assert not [row for row in explained(run("translate", "--explain", E2)) if "(told in the text)" in row[1]]


# -- news of messages ----------------------------------------------------------------------------------------------------
@pytest.mark.requirement("NOTE-01")
def test_a_receipt_goes_to_who_wrote_the_message() -> None:
    stanza = "<message from='mira@xmpp.example/x' to='tomas@sip.example' id='r'><received xmlns='urn:xmpp:receipts' id='k7'/></message>"
    request = printed(run("translate", stdin=stanza.encode()))
    assert request.startswith("MESSAGE sip:tomas@sip.example SIP/2.0\r\n")
    assert "<message-id>k7</message-id>" in request
    assert "<delivery-notification><status><delivered/></status></delivery-notification>" in request
    body = request.partition("<?xml")[1] + request.partition("<?xml")[2]
    head = REQUEST.partition(b"\r\nSubject:")[0] + b"\r\nContent-Type: message/imdn+xml\r\n\r\n"
    assert "<received xmlns='urn:xmpp:receipts' id='k7'/>" in printed(run("translate", stdin=head + body.encode()))


@pytest.mark.requirement("FRAG-42")
def test_a_report_that_says_nothing_of_a_failure_becomes_nothing() -> None:
    fragment = b"SIP/2.0 200 OK\r\nTo: <sip:mira@xmpp.example>\r\nCall-ID: x\r\nCSeq: 1 MESSAGE\r\n"
    head = REQUEST.partition(b"\r\nSubject:")[0] + b"\r\nContent-Type: message/sipfrag\r\n\r\n"
    done = run("translate", stdin=head + fragment)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"stoxgate: nothing is sent: it tells of no message")


# -- files ---------------------------------------------------------------------------------------------------------------
PICTURE = REQUEST.replace(b"text/plain", b"image/png; name=a.png").removesuffix(b"Ob treh.") + b"\x89PNG\r\n\x1a\n"


def with_uploads(folder: Path) -> Path:
    return written(folder, secret='secret = "x"\nupload = "upload.xmpp.example"')


def test_a_file_would_be_uploaded_and_that_needs_the_server(tmp_path: Path) -> None:
    config, message = with_uploads(tmp_path), PICTURE
    told = "a.png (image/png, 8 octets) would be uploaded to upload.xmpp.example and sent as a link: that needs the server"
    assert said(run("translate", stdin=message, config=config), 1) == told
    done = run("translate", "--json", stdin=message, config=config)
    files = [{"name": "a.png", "type": "image/png", "octets": 8}]
    assert (done.returncode, json.loads(done.stdout)) == (1, {"upload": {"service": "upload.xmpp.example", "files": files}, "note": told})
    assert said(run("translate", stdin=message), 1).startswith("refused: 415 ")


def test_what_would_become_of_a_file_is_explained(tmp_path: Path) -> None:
    done = run("translate", "--explain", stdin=PICTURE, config=with_uploads(tmp_path))
    assert (done.returncode, done.stdout) == (1, b"")
    (row,) = [line for line in done.stderr.decode().splitlines() if line.startswith("body: ")]
    assert row.split("  ")[0] == "body: (image/png; name=a.png, 8 octets)"
    assert "<body/>: https://upload.xmpp.example/.../a.png" in row


def test_a_file_is_shown_as_message_cpim_without_a_server(tmp_path: Path) -> None:
    shown = run("translate", "--to", "cpim", stdin=PICTURE, config=with_uploads(tmp_path))
    assert (shown.returncode, shown.stdout.endswith(b"\r\n\r\n\x89PNG\r\n\x1a\n")) == (0, True)
