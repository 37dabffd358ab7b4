"""The tables of the store, the same for every database, and the version of their layout."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

VERSION = 2
"""Layout version. A store with a higher one is refused (REL-30); one with a lower one gets the steps in between, in one transaction."""

metadata = MetaData()
_ROW_NUMBER = BigInteger().with_variant(Integer, "sqlite")

message = Table(
    "message",
    metadata,
    Column("seq", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("lane", Text, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("crc", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("due_at", Float, nullable=False, server_default="0"),
    Column("number", BigInteger, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("parked", Text, nullable=False, server_default=""),
)
"""A message from its acceptance until it is settled. Rows are found by seq alone: the worker holds the lanes in memory.

due_at: 0 for at once. number: of the next try, 0 while that is seq itself. parked: why it was put aside.
"""
ON_ACCEPTANCE = ("seq", "lane", "received_at", "expires_at", "crc", "record")

journal = Table(
    "journal",
    metadata,
    Column("id", _ROW_NUMBER, primary_key=True),
    Column("at", Float, nullable=False),
    Column("next_number", BigInteger, nullable=False),
    Column("digests", LargeBinary, nullable=False),
)
"""One row a commit: where the sequence stands, and the 64-bit digests of the SIP arrivals that it took.

One sequential row costs a fifth of an index entry for each digest. Old rows are swept; the last one always stays.
"""

recollection = Table(
    "recollection",
    metadata,
    Column("id", _ROW_NUMBER, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("key", BigInteger, nullable=False),
    Column("until", Float, nullable=False),
    Column("facts", Text, nullable=False),
)
"""What late answers need for minutes (BRIEF): many rows and no index, as a map in memory finds them. Version 1 had all kinds here."""

newest = Table(
    "newest",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    Column("until", Float, nullable=False),
    Column("facts", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""Every other kind of recollection: one row for each kind and key, the newest. Since version 2."""

Index("newest_until", newest.c.kind, newest.c.until)

setting = Table(
    "setting",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
"""version, secret (hex)."""
