"""stoxgate verify: whether the signature in a message holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gateway.core.settings import SmimeSettings
from gateway.core.verdict import Status
from gateway.smime.identity import HomeOf
from gateway.smime.judge import Judge
from gateway.smime.trust import TrustStore
from gateway.translation import translation

from .common import (
    MISUSED,
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
    configuration is needed, and people are who they are written as; without it [smime] and the pairs of the configuration count. Exit code
    0 when it holds: for its author (valid, or valid-after-canonicalisation: line ends were changed on the way) or for the domain of its
    author (domain-signed); 1 when it does not, and when nothing is signed. How long ago it was signed does not count here. What is
    encrypted is not decrypted.

    \b
    Examples:
      stoxgate verify message.sip --ca authorities.pem
      stoxgate queue show 42 | stoxgate verify --ca authorities.pem
    """
    octets = read_input(file)
    if ca is None and (certificates or crl or rfc822):
        raise click.UsageError("--certificates, --crl and --rfc822 go with --ca; without it [smime] of the configuration says all")
    if ca is None:
        smime, told, whose = _configured(config)
    else:
        smime, told, whose = SmimeSettings(ca, certificates, crl, rfc822=rfc822), "command line", None
    found = protected_in(read_message(octets, source or ""))
    if found is None:
        end("there is nothing signed in it", REFUSED)
    facts = facts_of(verdict_of(found, Judge(TrustStore.load(smime, told), rfc822=smime.rfc822), now, whose))
    holds = Status(facts["status"]) in HOLDS
    if as_json:
        put_json(facts | {"holds": holds})
    elif holds:
        click.echo("\n".join([facts["status"], *(f"  {visible(line)}" for line in lines_of(facts))]))
    if not holds:
        end(_in_words(facts), REFUSED)


def _configured(config: Path) -> tuple[SmimeSettings, str, HomeOf | None]:
    settings, tables = configured(config)
    if settings.smime.anchors is None and settings.smime.certificates is None:
        end("nothing to check it with: give --ca FILE, or set anchors in [smime]", MISUSED)
    directory = translation(settings, tables, b"verify", only_names=True).directory
    return settings.smime, settings.file, directory.known_home


def _in_words(facts: dict[str, Any]) -> str:
    """Why a signature does not count."""
    if facts["status"] == Status.NOT_CHECKED.value:
        return "it is encrypted, and no signature is outside of that" if facts["encrypted"] else "no signature in it can be checked"
    because = f", {facts['detail']}" if facts["detail"] else ""
    return f"the signature does not hold: {facts['status']}{because}"
