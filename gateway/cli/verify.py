"""stoxgate verify: whether the signature in a message holds."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.core.settings import SmimeSettings
from gateway.core.verdict import Status
from gateway.smime.judge import Judge
from gateway.smime.trust import TrustStore

from .common import (
    REFUSED,
    a_moment,
    config_option,
    configured,
    end,
    file_argument,
    guarded,
    json_option,
    put_json,
    read_input,
)
from .messages import KINDS, read_message
from .shown import visible
from .signatures import facts_of, lines_of, protected_in, verdict_of

HOLDS = (Status.VALID, Status.VALID_AFTER_CANONICALISATION, Status.DOMAIN_SIGNED)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("verify")
@file_argument
@click.option("--ca", type=_FILE, help="Certificates of authorities, PEM; [smime] of the configuration when left out.")
@click.option("--certificates", type=_FILE, help="Certificates of people, PEM, for signers who do not send theirs.")
@click.option("--crl", type=_FILE, help="Revocation lists, PEM.")
@click.option("--rfc822", is_flag=True, help="Take an email address in a certificate for the sip: address that is written alike.")
@click.option("--from", "source", type=click.Choice(KINDS), help="What the message is; seen from its first octets when left out.")
@click.option("--now", default="", metavar="TIME", callback=a_moment, help="Judge as if it were this time (RFC 3339).")
@config_option
@json_option
@guarded
def command(
    file: Path,
    ca: Path | None,
    certificates: Path | None,
    crl: Path | None,
    rfc822: bool,
    source: str | None,
    now: float,
    config: Path,
    as_json: bool,
) -> None:
    """Check the S/MIME signature in a message: whether it covers all of it, by whom, and whether its certificate leads to an authority.

    FILE: a SIP message, an XMPP stanza with <e2e/> or a message/cpim object; - or nothing reads standard input. With --ca no
    configuration is needed or read; the other files, and --rfc822, count beside --ca alone. Exit code 0 when it holds: for its author
    (valid, or valid-after-canonicalisation: line ends were changed on the way) or for the domain of its author (domain-signed); 1 when it
    does not, and when nothing is signed. How long ago it was signed does not count here. People are who they are written as: pairs of
    users.toml are not looked at. What is encrypted is not decrypted.

    \b
    Examples:
      stoxgate verify message.sip --ca authorities.pem
      stoxgate queue show 42 | stoxgate verify --ca authorities.pem
    """
    octets = read_input(file)
    if ca is None:
        settings = configured(config)[0]
        smime, told = settings.smime, settings.file
        if smime.anchors is None and smime.certificates is None:
            end("nothing to check it with: give --ca FILE, or set anchors in [smime]", 2)
    else:
        smime, told = SmimeSettings(ca, certificates, crl, rfc822=rfc822), "command line"
    found = protected_in(read_message(octets, source or ""))
    if found is None:
        end("there is nothing signed in it", REFUSED)
    facts = facts_of(verdict_of(found, Judge(TrustStore.load(smime, told), rfc822=smime.rfc822), now))
    holds = Status(facts["status"]) in HOLDS
    if as_json:
        put_json(facts | {"holds": holds})
    elif holds:
        click.echo("\n".join([facts["status"], *(f"  {visible(line)}" for line in lines_of(facts))]))
    if not holds:
        end(f"the signature does not hold: {facts['status']}" + (f", {facts['detail']}" if facts["detail"] else ""), REFUSED)
