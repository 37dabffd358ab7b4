"""Tests beside an optional peer are collected only where it is installed (`make peers GROUPS=linphone`): a skipped proof fails in CI."""

from __future__ import annotations

from tests.peers.programs import missing

collect_ignore = ["test_linphone.py"] if missing("linphonec") else []
