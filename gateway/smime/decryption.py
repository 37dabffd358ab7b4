"""Decrypting for a hosted account: EnvelopedData (RFC 5652 section 6) and AuthEnvelopedData (RFC 5083), DER or BER.

Whoever sends these octets may learn nothing from what becomes of them but that they could not be decrypted (SMIME-72, RFC 3218, RFC 8551
section 6). So there is one error with one text, for every reason. A content key that does not come out of an RSA decryption, or has a
length that the cipher does not take, is replaced by one that nobody can know (RFC 3218 section 2.3.2), and decryption goes on to fail
where a wrong key always does: the work is the same. The key in its place depends on the account and the octets alone, so asking twice tells
no more than asking once. `cryptography` (OpenSSL 3.2 and newer) does the same inside of PKCS #1 v1.5, where alone it is constant in time.

What is in an EnvelopedData may have been changed on its way; what is wrong with its padding can be told apart from what is
wrong inside by whoever sees both answers. Hence `tells_by_failing`: such a failure is told to nobody but the recipient; and `Failures`: who
sends what cannot be decrypted is soon not tried for any more.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any, ClassVar

from asn1crypto import cms, core
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from gateway.core.errors import GatewayError
from gateway.core.remember import learn

from .asn1 import CmsFault, checked, members
from .ciphers import CBC_KEY_OCTETS, ECDH_DIGESTS, GCM_KEY_OCTETS, OAEP, TRIPLE_DES_CBC, wrapping_key
from .cms import SignerId
from .keys import Account
from .oids import RSA

_MOST_RECIPIENTS = 100
_LEAST_ICV, _MOST_ICV = 12, 16
_BLOCK_KEY_OCTETS = {**CBC_KEY_OCTETS, TRIPLE_DES_CBC: 24}
_OAEP_DIGESTS = {
    "sha1": hashes.SHA1(),  # noqa: S303 - what OAEP says where it says nothing (RFC 4055 section 4.1)
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


class Undecipherable(GatewayError):
    """It could not be decrypted; there is never more to say about it."""

    def __init__(self) -> None:
        super().__init__("The message cannot be decrypted")


def decrypted(octets: bytes, account: Account) -> bytes:
    """The content of an encrypted ContentInfo: the octets of a MIME entity. Raises Undecipherable."""
    try:
        return _decrypted(octets, account)
    except (CmsFault, ValueError, TypeError, LookupError, AttributeError, InvalidTag, InvalidUnwrap, UnsupportedAlgorithm):
        # The original exception would say why, in a traceback that somebody might write down.
        raise Undecipherable from None


def tells_by_failing(octets: bytes, account: Account) -> bool:
    """Whether its sender could learn of its content from an answer that says that it could not be decrypted (SMIME-72).

    So it is with what is encrypted for this account and not authenticated: whoever has seen it can send it with changed blocks, and
    ask again and again. What is for another one, or no CMS at all, tells nothing.
    """
    try:
        info = cms.ContentInfo.load(checked(octets))
        return info["content_type"].native == "enveloped_data" and any(
            _is_named(rid, account) for rid in _recipients(info["content"]["recipient_infos"])
        )
    except (CmsFault, ValueError, TypeError, LookupError, AttributeError):
        return False


def _few(infos: Any) -> Any:
    """RecipientInfos, counted before any is read. Raises ValueError for more than are looked at."""
    if len(members(infos.dump())) > _MOST_RECIPIENTS:
        raise ValueError
    return infos


def _recipients(infos: Any) -> Iterator[Any]:
    for info in _few(infos):
        if info.name == "ktri":
            yield info.chosen["rid"]
        elif info.name == "kari":
            yield from [each["rid"] for each in info.chosen["recipient_encrypted_keys"]]


def _decrypted(octets: bytes, account: Account) -> bytes:
    info = cms.ContentInfo.load(checked(octets))
    data, is_authenticated = info["content"], info["content_type"].native == "authenticated_enveloped_data"
    if not is_authenticated and info["content_type"].native != "enveloped_data":
        raise ValueError
    sealed = data["auth_encrypted_content_info" if is_authenticated else "encrypted_content_info"]
    cipher = sealed["content_encryption_algorithm"]
    name = cipher["algorithm"].dotted
    key = _content_key(data["recipient_infos"], account, (GCM_KEY_OCTETS if is_authenticated else _BLOCK_KEY_OCTETS)[name])
    content = _octets_of(members(sealed.dump())[2])
    return _opened(data, cipher["parameters"], key, content) if is_authenticated else _unblocked(name, cipher["parameters"], key, content)


def _octets_of(content: bytes) -> bytes:
    """The value of an OCTET STRING whose tag is [0] IMPLICIT, in one piece or in several (which asn1crypto does not read)."""
    string = checked(bytes((content[0] & 0x20 | 0x04,)) + content[1:])
    return bytes(core.OctetString.load(string))


# -- the content -------------------------------------------------------------------------------------------------------
class _GcmParameters(core.Sequence):  # type: ignore[misc]
    """RFC 5084 section 3.2."""

    _fields: ClassVar = [("nonce", core.OctetString), ("icv_octets", core.Integer, {"default": _LEAST_ICV})]


def _opened(data: Any, stated: Any, key: bytes, content: bytes) -> bytes:
    """The content of an AuthEnvelopedData; its authAttrs, as SET OF, are authenticated too (RFC 5083 section 2.2)."""
    parameters, icv = stated.parse(spec=_GcmParameters), data["mac"].native
    if len(icv) != parameters["icv_octets"].native or not _LEAST_ICV <= len(icv) <= _MOST_ICV:
        raise ValueError
    opening = Cipher(algorithms.AES(key), modes.GCM(parameters["nonce"].native, icv, min_tag_length=_LEAST_ICV)).decryptor()
    attributes = data["auth_attrs"]
    if attributes.native is not None:
        opening.authenticate_additional_data(attributes.untag().dump())
    return opening.update(content) + opening.finalize()


def _unblocked(name: str, stated: Any, key: bytes, content: bytes) -> bytes:
    """The content of an EnvelopedData: CBC, padded to whole blocks (RFC 5652 section 6.3)."""
    block: Any = TripleDES(key) if name == TRIPLE_DES_CBC else algorithms.AES(key)
    opening, unpadding = Cipher(block, modes.CBC(stated.native)).decryptor(), padding.PKCS7(block.block_size).unpadder()
    return unpadding.update(opening.update(content) + opening.finalize()) + unpadding.finalize()


# -- its key -----------------------------------------------------------------------------------------------------------
def _content_key(infos: Any, account: Account, octets: int) -> bytes:
    """The key that was encrypted for the account, of this many octets; where there is none inside, one that nobody knows."""
    for info in _few(infos):
        each = info.chosen
        if info.name == "ktri" and isinstance(account.key, rsa.RSAPrivateKey) and _is_named(each["rid"], account):
            return _transported(each, account, account.key, octets)
        if info.name == "kari" and isinstance(account.key, ec.EllipticCurvePrivateKey):
            for wrapped in each["recipient_encrypted_keys"]:
                if _is_named(wrapped["rid"], account):
                    return _agreed(each, wrapped["encrypted_key"].native, account.key, octets)
    raise ValueError


def _is_named(rid: Any, account: Account) -> bool:
    """Whether a RecipientIdentifier or KeyAgreeRecipientIdentifier is that of the account's certificate."""
    own, named = account.certificate, rid.chosen
    if rid.name == "issuer_and_serial_number":
        return own.matches(SignerId(named["issuer"].dump(), named["serial_number"].native))
    return own.matches(SignerId(key_id=bytes(named if rid.name == "subject_key_identifier" else named["subject_key_identifier"])))


def _transported(info: Any, account: Account, private: rsa.RSAPrivateKey, octets: int) -> bytes:
    sealed = info["encrypted_key"].native
    try:
        key = private.decrypt(sealed, _rsa_padding(info["key_encryption_algorithm"]))
    except ValueError:
        key = b""
    # Computed always: so it costs the same.
    instead = hmac.digest(account.blind, sealed, "sha256")[:octets]
    return key if len(key) == octets else instead


def _rsa_padding(method: Any) -> rsa_padding.AsymmetricPadding:
    if method["algorithm"].dotted == RSA:
        return rsa_padding.PKCS1v15()
    if method["algorithm"].dotted != OAEP:
        raise KeyError
    stated = method["parameters"]
    digest = _OAEP_DIGESTS[stated["hash_algorithm"]["algorithm"].native]
    mask = _OAEP_DIGESTS[stated["mask_gen_algorithm"]["parameters"]["algorithm"].native]
    return rsa_padding.OAEP(rsa_padding.MGF1(mask), digest, stated["p_source_algorithm"]["parameters"].native or None)


def _agreed(info: Any, wrapped: bytes, private: ec.EllipticCurvePrivateKey, octets: int) -> bytes:
    originator, method = info["originator"], info["key_encryption_algorithm"]
    if originator.name != "originator_key":
        raise ValueError
    # Refuses a point that is not on the curve.
    public = ec.EllipticCurvePublicKey.from_encoded_point(private.curve, originator.chosen["public_key"].native)
    wrap = method["parameters"].parse(spec=cms.KeyEncryptionAlgorithm)
    digest, ukm = ECDH_DIGESTS[method["algorithm"].dotted], info["ukm"].native
    sealing = wrapping_key(private.exchange(ec.ECDH(), public), digest, wrap["algorithm"].dotted, wrap.dump(), ukm)
    key = aes_key_unwrap(sealing, wrapped)
    if len(key) != octets:
        raise ValueError
    return key


# -- how often ---------------------------------------------------------------------------------------------------------
class Failures:
    """How often each sender has lately sent what could not be decrypted. Times are in seconds on one clock.

    if not failures.bars(sender, now):
        try:
            return decrypted(octets, account)
        except Undecipherable:
            failures.note(sender, now)
    """

    def __init__(self, most: int = 10, within: float = 600, senders: int = 10_000) -> None:
        self._most, self._within, self._senders = most, within, senders
        self._times: dict[str, tuple[float, ...]] = {}

    def bars(self, sender: str, now: float) -> bool:
        """Whether nothing of this sender is to be decrypted now: `most` failures `within` these seconds."""
        return len(self._recent(sender, now)) >= self._most

    def note(self, sender: str, now: float) -> None:
        """Something of this sender could not be decrypted. Whose failures are the oldest are forgotten over `senders`."""
        learn(self._times, sender, (*self._recent(sender, now), now)[-self._most :], self._senders)

    def _recent(self, sender: str, now: float) -> tuple[float, ...]:
        return tuple(at for at in self._times.get(sender, ()) if now - at < self._within)
