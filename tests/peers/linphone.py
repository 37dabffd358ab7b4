"""Linphone (`linphonec`): a SIP user agent that reads message/cpim and sends receipts. An optional peer: `make peers GROUPS=linphone`.

Known of version 5.1.65: it answers 488 to message/cpim whose From is an im:, pres: or xmpp: URI (sip: and tel: pass); its receipts are
bare message/imdn+xml, and some come with `Content-Encoding: deflate`; it never sends message/cpim in a one-to-one chat.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.peers.process import LIMIT, NotReady, Process, free_port
from tests.peers.programs import Tree, tree_of

_PROMPT = "linphonec> "
_CONFIG = """[sip]
sip_port={udp}
sip_tcp_port={tcp}
sip_tls_port=-1
default_proxy=0
use_ipv6=0
[proxy_0]
reg_proxy=<sip:{proxy};transport={transport}>
reg_route=<sip:{proxy};transport={transport};lr>
reg_identity=sip:{address}
reg_expires={expires}
reg_sendregister={registers}
publish=0
"""
# Its grammars are looked for at one absolute path; a copy of the library looks from the working folder instead, in as many octets.
_GRAMMARS, _GRAMMARS_HERE = b"/usr/share/belr/grammars", b".////share/belr/grammars"


class Linphone(Process):
    """The user agent of `address` (without scheme), whose requests go to `proxy` (host:port) over `transport`.

    registers: register there; `wait_ready` does not wait for the answer. Receipts are sent only by a registered account, and only for
    requests whose To is its address.
    """

    def __init__(self, work: Path, address: str, *, proxy: str, transport: str = "udp", registers: bool = True, port: int = 0) -> None:
        self.work, self.address, self.port = work, address, port or free_port()
        for folder in (".local/share/linphone", ".config/linphone", "lib"):
            (work / folder).mkdir(parents=True, exist_ok=True)
        (work / "linphonerc").write_text(
            _CONFIG.format(
                udp=self.port if transport == "udp" else -1,
                tcp=self.port if transport == "tcp" else -1,
                proxy=proxy,
                transport=transport,
                address=address,
                expires=600 if registers else 0,
                registers=int(registers),
            )
        )
        tree = tree_of("linphonec")
        environment = tree.environment(work)
        if tree.library_path:
            _relocate(tree, work)
            environment["LD_LIBRARY_PATH"] = f"{work / 'lib'}:{tree.library_path}"
        super().__init__([tree.program("linphonec"), "-c", str(work / "linphonerc")], work / "linphone.log", work, environment)

    def wait_ready(self, limit: float = LIMIT) -> None:
        self.wait_for(_PROMPT, limit)

    def send(self, uri: str, text: str) -> None:
        self.write(f"chat {uri} {text}\n".encode())

    def wait_for_message(self, sender: str, text: str, limit: float = LIMIT) -> None:
        """Wait until it shows `text` from the URI `sender`. Raises NotReady."""
        self.wait_for(rf"Message received from {re.escape(sender)}: {re.escape(text)}\n", limit)


def _relocate(tree: Tree, work: Path) -> None:
    """Put a copy of its grammar library into `work` that finds the grammars of `tree`. Raises NotReady when it is not as expected."""
    library = (tree.libraries / "libbelr.so.1").read_bytes()
    if library.count(_GRAMMARS) != 1:
        raise NotReady(f"libbelr does not name {_GRAMMARS.decode()} once: this version cannot be relocated so")
    (work / "lib" / "libbelr.so.1").write_bytes(library.replace(_GRAMMARS, _GRAMMARS_HERE))
    if not (work / "share").is_symlink():
        (work / "share").symlink_to(tree.root / "usr/share")
