"""One bridge for all conformance tests: starting it costs seconds, a test on it milliseconds.

Tests share it, so each uses its own Call-IDs and stanza ids and takes from the inboxes only what is its own. A test that needs another
configuration starts a bridge of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bridge import Bridge
from tests.bridge import bridge as start


@pytest.fixture(scope="session")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """The gateway between a real XMPP server and the port where `bridge.phone()` listens, over UDP."""
    with start(tmp_path_factory.mktemp("bridge")) as it:
        yield it
