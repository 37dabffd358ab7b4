"""What is handed on as a file, under which name, and where a file stands in a message of several parts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.content import Content, content_of
from gateway.core.errors import GatewayError, Refusal
from gateway.core.files import MOST_NAME_OCTETS, File, file_of
from gateway.core.mime import Entity

PNG = b"\x89PNG\r\n\x1a\n"


def entity(content_type: str, content: bytes = PNG, **more: str) -> Entity:
    headers = [("Content-Type", content_type), *((name.replace("_", "-"), value) for name, value in more.items())]
    return Entity.compose(headers, content)


def name_of(disposition: str, content_type: str = "image/png") -> str:
    return file_of(entity(content_type, Content_Disposition=disposition)).name


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="a.png"', "a.png"),
        ("inline;filename=a.png", "a.png"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\Users\\\\x\\\\b.png"', "b.png"),
        ("attachment; filename*=UTF-8''tr%C3%A8s%20cool.png; filename=x", "très cool.png"),
        ("attachment; filename*=UTF-8''..%2F..%0D%0A%2Fa%E2%80%AEgnp.exe", "agnp.exe"),
        ('attachment; filename=" . "', "file.png"),
        ('attachment; filename="/"', "file.png"),
        ("attachment; filename*=UTF-8''%00", "\ufffd"),
        ('attachment; filename=".bashrc"', "bashrc"),
        ('attachment; filename="' + "é" * 300 + '.jpeg"', "é" * 57 + ".jpeg"),
        ('attachment; filename="a.' + "b" * 300 + '"', "a." + "b" * 118),
        ("attachment", "file.png"),
        ("nonsense; =", "file.png"),
    ],
)
def test_a_name_has_no_path_nothing_invisible_and_a_bound(disposition: str, name: str) -> None:
    assert name_of(disposition) == name


def test_a_name_comes_from_the_type_where_nothing_else_says_it() -> None:
    assert file_of(entity('image/jpeg; name="b.jpg"')).name == "b.jpg"
    assert [file_of(entity(kind)).name for kind in ("image/jpeg", "application/x-what")] == ["file.jpg", "file.bin"]
    assert file_of(entity('Image/PNG; name=a; charset="x"')).type == "image/png"


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_name_is_a_name(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    try:
        name = name_of(f'attachment; filename="{quoted}"')
    except GatewayError:
        return
    assert 0 < len(name.encode()) <= MOST_NAME_OCTETS
    assert name.isprintable()
    assert not set(name) & set("/\\")
    assert name[0] not in " ."


def test_a_transfer_encoding_is_undone() -> None:
    assert file_of(entity("image/png", b"iVBORw0KGgo=", Content_Transfer_Encoding="base64")).octets == PNG


@pytest.mark.parametrize(
    "kind", ["multipart/signed; boundary=b", "application/pkcs7-mime", "message/rfc822", "application/im-iscomposing+xml"]
)
def test_what_is_protected_or_for_programs_is_no_file(kind: str) -> None:
    with pytest.raises(Refusal, match="type-unsupported"):
        content_of(entity(kind), files=True)


def test_an_empty_file_is_refused_and_not_lost() -> None:
    with pytest.raises(Refusal, match="empty"):
        content_of(entity("image/png", b""), files=True)


# -- in a message ------------------------------------------------------------------------------------------------------
def parts(kind: str, *inner: Entity) -> Entity:
    content = b"".join([b"\r\n--b\r\n" + each.raw for each in inner]) + b"\r\n--b--\r\n"
    return Entity.compose([("Content-Type", f"{kind}; boundary=b")], content[2:])


TEXT, PICTURE = entity("text/plain", b"look"), entity("image/png; name=a.png")
FILE = File("a.png", "image/png", PNG)


def test_files_are_carried_only_where_that_is_wanted() -> None:
    assert content_of(PICTURE, files=True) == Content(files=(FILE,))
    with pytest.raises(Refusal, match="type-unsupported"):
        content_of(PICTURE)


def test_text_and_files_of_a_mixed_message_are_both_carried() -> None:
    both = content_of(parts("multipart/mixed", TEXT, PICTURE, PICTURE), files=True)
    assert (both.text, both.files) == ("look", (FILE, FILE))
    urls = ["https://x.example/1", "https://x.example/2"]
    assert both.linked(urls).body == "look\n" + "\n".join(urls)
    assert both.linked(urls).files == ()


def test_a_file_is_an_alternative_only_where_nothing_else_is() -> None:
    assert content_of(parts("multipart/alternative", TEXT, PICTURE), files=True) == Content("look")
    webp = entity("image/webp; name=a.webp")
    assert content_of(parts("multipart/alternative", webp, PICTURE), files=True).files == (FILE,)


def test_text_that_is_attached_is_a_file() -> None:
    note = entity("text/plain", b"long story", Content_Disposition='attachment; filename="story.txt"')
    assert content_of(note, files=True).files == (File("story.txt", "text/plain", b"long story"),)
    assert content_of(parts("multipart/mixed", TEXT, note), files=True).text == "look"


def test_an_attached_link_stays_a_link() -> None:
    link = entity("text/uri-list", b"https://x.example/a\r\n", Content_Disposition="attachment")
    assert [each.url for each in content_of(link, files=True).links] == ["https://x.example/a"]


KINDS = st.sampled_from(["multipart/mixed; boundary=b", "multipart/alternative; boundary=b", "message/cpim", "image/png", "text/plain"])
PIECES = st.sampled_from(
    [b"\r\n", b"--b", b"--", b"Content-Type: ", b"image/png", b"text/plain", b"multipart/mixed;boundary=b", b"Content-Disposition: ",
     b"attachment", b";filename*=UTF-8''%ff", b";handling=optional", b"Content-Transfer-Encoding: base64\r\n", b"\x00\xff"]
)  # fmt: skip


@settings(deadline=None)
@given(KINDS, st.lists(PIECES | st.binary(max_size=8), max_size=40))
def test_nothing_but_a_refusal_or_a_fault_comes_of_any_octets(kind: str, pieces: list[bytes]) -> None:
    try:
        content = content_of(entity(kind, b"".join(pieces)), files=True)
    except GatewayError:
        return
    assert all(file.octets and file.name for file in content.files)
    assert content.linked(["https://x.example/"] * len(content.files)).body or not content.files
