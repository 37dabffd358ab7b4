"""What it costs to judge a signed message of 2 kB: `python -m tests.bench.verify_cost [-n MESSAGES]`.

Beside each figure stands the least that any verifier has to do, by the same library: the digest of the octets and the one public-key
operation. Each message is another one, signed by one person whose certificate chain is known; the best of several runs counts.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from gateway.core.address import SipAddress
from gateway.core.mime import Entity
from gateway.smime.identity import Claim
from gateway.smime.judge import Judge
from gateway.smime.trust import TrustStore
from tests.smime.authority import NOW, Authority, Holder, clear_signed, cpim, opaque, sign

RUNS = 5
ROMEO = SipAddress("romeo", "sip.example")


def covered(number: int) -> bytes:
    """A message/cpim of 2 kB."""
    return b"Content-Type: message/cpim\r\n\r\n" + cpim("im:romeo@sip.example", text=f"{number:08} " + "x" * 1840)


def seconds_each(act: Callable[[Any], object], items: Sequence[Any]) -> float:
    """The best of several runs over all items, for one item."""
    best = float("inf")
    gc.disable()
    for _ in range(RUNS):
        begin = perf_counter()
        for item in items:
            act(item)
        best = min(best, perf_counter() - begin)
    gc.enable()
    return best / len(items)


def least(signer: Holder, octets: Sequence[bytes]) -> float:
    """Seconds for a digest and one public-key operation."""
    key: Any = signer.key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        arguments: tuple[Any, ...] = (ec.ECDSA(hashes.SHA256()),)
    else:
        arguments = (padding.PKCS1v15(), hashes.SHA256())
    signed = [(each, key.sign(each, *arguments)) for each in octets]
    public = key.public_key()
    return seconds_each(lambda item: (hashlib.sha256(item[0]).digest(), public.verify(item[1], item[0], *arguments)), signed)


def main() -> None:
    """Print one line for each kind of key and container."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=200, metavar="MESSAGES")
    octets = [covered(number) for number in range(parser.parse_args().n)]
    print(f"{len(octets)} messages of {len(octets[0])} octets")
    for kind in ("p256", "rsa2048"):
        authority = Authority("Root")
        signer = authority.issue("sip:romeo@sip.example", "im:romeo@sip.example", kind=kind)
        judge = Judge(TrustStore([authority.certificate]))
        claim = Claim(ROMEO, "sip:romeo@sip.example", lambda text: ROMEO)
        floor = least(signer, octets)
        containers: dict[str, list[Entity]] = {
            "multipart/signed": [clear_signed(each, sign(signer, each)) for each in octets],
            "application/pkcs7-mime": [opaque(sign(signer, each, detached=False)) for each in octets],
        }
        for name, entities in containers.items():
            assert judge.judge(entities[0], claim, NOW).verdict.is_good
            cost = seconds_each(partial(judge.judge, claim=claim, now=NOW), entities)
            print(f"{kind:8} {name:24} {cost * 1e6:6.0f} us   {cost / floor:4.1f} times digest and key operation ({floor * 1e6:.0f} us)")


if __name__ == "__main__":
    main()
