"""stoxgate keys: the accounts for whom the gateway signs and decrypts."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gateway.core.address import Address
from gateway.core.dates import format_rfc3339
from gateway.core.errors import ConfigFault
from gateway.core.settings import Settings
from gateway.core.tables import Tables
from gateway.relay.directory import Directory
from gateway.smime.fitness import account_name
from gateway.smime.keys import Account, account_files, check_account, parse_account, read_account, warnings_of, write_account

from .common import REFUSED, config_option, configured, end, file_argument, group_config_option, guarded, json_option, put_json, read_input
from .shown import columns_of, table, visible

Row = dict[str, Any]


@click.group("keys")
@group_config_option
def command() -> None:
    """Look after the keys of hosted accounts, for whom the gateway signs and decrypts (S/MIME).

    They are in the folder that [smime] keys names, one file an account. A running gateway has read them at its start.

    \b
    Examples:
      stoxgate keys add juliet@example.com juliet.pem
      stoxgate keys list
      stoxgate keys check
    """


@command.command("list", short_help="List the hosted accounts.")
@config_option
@json_option
@guarded
def list_(config: Path, as_json: bool) -> None:
    """List the hosted accounts.

    \b
    address:    whom the key is of
    names:      whom the certificate names
    serial:     of the certificate, hexadecimal
    not after:  when it ends
    key:        P-256, Ed25519 or RSA with its bits
    problem:    why the account cannot be used

    Example: stoxgate keys list --json
    """
    settings, tables = configured(config)
    folder = _folder(config, settings)
    rows = _rows(folder, settings, tables) if folder.exists() else []
    if as_json:
        put_json(rows)
    elif not rows:
        click.echo(f"no account is hosted: there is none in {visible(str(folder))}")
    else:
        names = ("address", "names", "serial", "not_after", "key", "problem")
        shown = names if any(row["problem"] for row in rows) else names[:-1]
        cells = [tuple(visible(_cell(row[name])) for name in shown) for row in rows]
        click.echo(table(tuple(name.replace("_", " ") for name in shown), cells, most=columns_of(sys.stdout)))


def _cell(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else value or ""


@command.command("add", short_help="Host an account from now on.")
@click.argument("address", metavar="ADDRESS")
@file_argument
@config_option
@json_option
@click.option("--replace", is_flag=True, help="Take the place of the key that is there.")
@guarded
def add(address: str, file: Path, config: Path, as_json: bool, replace: bool) -> None:
    """Host an account from now on.

    ADDRESS: whose it is, on either side. FILE: PEM with the private key (not encrypted) and the certificate, and those above it if there
    are any; - reads standard input. All is checked before anything is written.

    \b
    Examples:
      stoxgate keys add juliet@example.com juliet.pem
      cat key.pem certificate.pem | stoxgate keys add sip:romeo@example.net -
      stoxgate keys add juliet@example.com new.pem --replace
    """
    settings, tables = configured(config)
    folder, smime = _folder(config, settings), settings.smime
    home_of = _home_of(settings, tables)
    name = account_name(home_of(address))
    if "@" not in name:
        end(f"{address} is no person", REFUSED)
    octets, now = read_input(file, config), time.time()
    try:
        account = parse_account(str(file), name, octets)
        check_account(str(file), account, now, home_of, rfc822=smime.rfc822)
    except ConfigFault as fault:
        end(str(fault), REFUSED)
    try:
        write_account(folder, name, octets, replace=replace)
    except FileExistsError:
        end(f"{name} has a key already; --replace takes its place", REFUSED)
    except OSError as error:
        raise ConfigFault(str(folder), "", f"cannot be written: {error.strerror}") from None
    if as_json:
        put_json(_row(account, "") | {"done": "add"})
    else:
        click.echo(f"{visible(name)}: {account.kind}, good until {format_rfc3339(int(account.certificate.until))}")
    for warning in (*_open_to_others(file), *warnings_of(account, now)):
        click.echo(f"stoxgate: warning: {visible(warning)}", err=True)


def _open_to_others(file: Path) -> tuple[str, ...]:
    try:
        mode = os.stat(file).st_mode if str(file) != "-" else 0
    except OSError:
        return ()
    is_open = stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO)
    return (f"{file} has the key too and is open to others (mode {mode & 0o777:03o})",) if is_open else ()


@command.command("check", short_help="Check all hosted accounts.")
@config_option
@json_option
@guarded
def check(config: Path, as_json: bool) -> None:
    """Check all hosted accounts: modes of the files, keys, certificates, whom they name and how long they are good.

    Exit code 1 where one is not fit. A certificate that ends within 30 days is warned of; with one that has ended the gateway starts, and
    signs, but those who check it will say so.

    Example: stoxgate keys check
    """
    settings, tables = configured(config)
    folder = _folder(config, settings)
    try:
        rows = _rows(folder, settings, tables)
    except ConfigFault as fault:
        if as_json:
            put_json({"ok": False, "problem": str(fault), "accounts": []})
        end(str(fault), REFUSED)
    problems = [row["problem"] for row in rows if row["problem"]]
    if as_json:
        put_json({"ok": not problems, "problem": "", "accounts": rows})
    else:
        for line in [line for row in rows for line in row["warnings"] or ([] if row["problem"] else [f"{row['address']}: good"])]:
            click.echo(visible(line))
        if not rows:
            click.echo(f"no account is hosted: there is none in {visible(str(folder))}")
    if problems:
        end("; ".join(problems), REFUSED)


def _folder(config: Path, settings: Settings) -> Path:
    if settings.smime.keys is None:
        raise ConfigFault(str(config), "smime.keys", 'is not set; name a folder for the keys of hosted accounts, keys = "keys"')
    return settings.smime.keys


def _home_of(settings: Settings, tables: Tables) -> Callable[[str], Address]:
    # Not that of a whole translation, which would need the very keys that are to be looked after.
    directory = Directory(tables.users, tables.domains, settings.sip.domains, settings.xmpp.domains, tables.numbers)
    return lambda text: directory.find(text)[1]


def _rows(folder: Path, settings: Settings, tables: Tables) -> list[Row]:
    """What there is to say of each account. Raises ConfigFault for a folder that cannot be used."""
    now, home_of = time.time(), _home_of(settings, tables)
    return [_examined(path, now, home_of, settings.smime.rfc822) for path in account_files(folder)]


def _examined(path: Path, now: float, home_of: Callable[[str], Address], rfc822: bool) -> Row:
    try:
        account = read_account(path)
    except ConfigFault as fault:
        return {"address": path.name, "names": [], "serial": None, "not_after": None, "key": None, "problem": str(fault), "warnings": []}
    try:
        check_account(str(path), account, now, home_of, rfc822=rfc822)
    except ConfigFault as fault:
        return _row(account, str(fault))
    return _row(account, "", warnings_of(account, now))


def _row(account: Account, problem: str, warnings: tuple[str, ...] = ()) -> Row:
    certificate = account.certificate
    return {
        "address": account.address,
        "names": list(certificate.names),
        "serial": f"{certificate.serial:x}",
        "not_after": format_rfc3339(int(certificate.until)),
        "key": account.kind,
        "problem": problem,
        "warnings": list(warnings),
    }
