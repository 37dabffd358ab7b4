"""The object identifiers of CMS that are both read and written here (RFC 5652, RFC 5083). Those of encryption: `ciphers`."""

from __future__ import annotations

DATA = "1.2.840.113549.1.7.1"
SIGNED_DATA, ENVELOPED_DATA = "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.3"
AUTH_ENVELOPED_DATA, COMPRESSED_DATA = "1.2.840.113549.1.9.16.1.23", "1.2.840.113549.1.9.16.1.9"
CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4", "1.2.840.113549.1.9.5"
"""The signed attributes that are known (RFC 5652 section 11)."""
RSA = "1.2.840.113549.1.1.1"
