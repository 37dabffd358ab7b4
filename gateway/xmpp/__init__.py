"""The XMPP adapter: stanzas, the component link, and the codec between stanzas and envelopes."""
