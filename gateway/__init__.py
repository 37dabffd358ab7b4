"""Stoxgate, a SIP-to-XMPP/CPIM interworking gateway."""

__version__ = "0.1.0"
