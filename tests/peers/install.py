"""Put the programs that the tests and the demo run beside the gateway into .peers/, as an ordinary user.

    python3 tests/peers/install.py core interop

Standard library only: this runs before there is a virtual environment. The Debian packages come from whatever the system's own
sources and keys name, through an apt state of our own, and are unpacked, never installed: no maintainer script runs, no daemon
starts, nothing outside .peers/ is written. apt resolves their dependencies against "what every Debian has" instead of what
this machine happens to have, so .peers/root holds the same programs and libraries everywhere. The distribution pins the versions.

A group that is already there costs nothing: `.peers/<group>.stamp` says what was unpacked for which distribution.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PEERS = Path(__file__).resolve().parents[2] / ".peers"
ROOT = PEERS / "root"

GROUPS: dict[str, tuple[str, ...]] = {
    "core": ("prosody", "lua-sec", "lua-event"),
    "interop": (
        "ejabberd",
        "kamailio",
        "kamailio-xmpp-modules",
        "sip-tester",
        "baresip-core",
        "profanity",
        "tmux",
        "openssl",
        "strace",
        "tcc",
    ),
    "pip": ("python3-pip-whl",),
    "linphone": ("linphone-cli",),
}

# Dependencies that these programs name but never touch when run from a folder: graphics drivers, a service manager, key servers.
UNUSED = (
    "adwaita-icon-theme",
    "dbus",
    "dbus-user-session",
    "dconf-gsettings-backend",
    "dconf-service",
    "dirmngr",
    "gnupg",
    "libdirectfb-1.7-7",
    "libpam-systemd",
    "python3",
    "python3.11",
    "ssl-cert",
    "systemd",
    "systemd-sysv",
    "ucf",
)

# These are tied to the running system's loader and must never come from anywhere else.
SYSTEM_ONLY = ("libc6", "libc-bin")

_FIELD = re.compile(r"^([A-Za-z-]+): (.*)$", re.MULTILINE)
_DEPENDED = re.compile(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)")
_CONFIG = """
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::State "{apt}";
Dir::State::status "{apt}/status";
Dir::Cache "{apt}";
Dir::Log "{apt}";
APT::Sandbox::User "";
Debug::NoLocking "true";
"""


class InstallError(Exception):
    """The packages could not be had; the text says what failed and is all that a person needs to see."""


def main(groups: list[str]) -> int:
    unknown = [group for group in groups if group not in GROUPS]
    if unknown or not groups:
        print(f"usage: install.py GROUP...   with groups {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    try:
        install(groups)
    except InstallError as error:
        print(f"install.py: {error}", file=sys.stderr)
        return 1
    return 0


def install(groups: Iterable[str]) -> None:
    """Unpack what is missing of `groups` into .peers/root. Raises InstallError."""
    with _lock():
        missing = [group for group in groups if not _is_there(group)]
        if not missing:
            return
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            raise InstallError("this needs Debian's apt-get and dpkg")
        with tempfile.TemporaryDirectory(prefix="apt-", dir=PEERS) as folder:
            archives = _download(Path(folder), sorted({name for group in missing for name in GROUPS[group]}))
            print(
                f"unpacking {len(archives)} packages for {', '.join(missing)}: "
                f"{sum(file.stat().st_size for file in archives) / 1e6:.0f} MB",
                flush=True,
            )
            _unpack(archives)
        for group in missing:
            _stamp(group).write_text(_wanted(group))


# -- stamps -----------------------------------------------------------------------------------------------------------------------
def _stamp(group: str) -> Path:
    return PEERS / f"{group}.stamp"


def _wanted(group: str) -> str:
    """What the stamp of a complete group says."""
    system = dict(line.partition("=")[::2] for line in Path("/etc/os-release").read_text().splitlines())
    return f"{system.get('ID', '')} {system.get('VERSION_ID', '')} {' '.join(GROUPS[group])}\n"


def _is_there(group: str) -> bool:
    stamp = _stamp(group)
    return stamp.exists() and stamp.read_text() == _wanted(group)


@contextmanager
def _lock() -> Iterator[None]:
    PEERS.mkdir(exist_ok=True)
    with (PEERS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# -- apt --------------------------------------------------------------------------------------------------------------------------
def _download(apt: Path, packages: list[str]) -> list[Path]:
    """The archives of `packages` and of what they depend on, checked by apt against the system's keys."""
    for folder in ("lists/partial", "archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "apt.conf").write_text(_system_config() + _CONFIG.format(apt=apt))
    (apt / "status").write_text(every_debian(Path("/var/lib/dpkg/status").read_text()))
    print(f"fetching {' '.join(packages)}", flush=True)
    update = _apt(apt, "update")
    found = _apt(apt, "install", "--download-only", "--yes", "--no-install-recommends", *packages)
    if found.returncode:
        raise InstallError(f"apt-get found no way to get {' '.join(packages)}:\n{update.stderr}{found.stderr}")
    return sorted(file for file in (apt / "archives").glob("*.deb") if file.name.partition("_")[0] not in SYSTEM_ONLY)


def _apt(apt: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", "-q", *arguments],
        env=os.environ | {"APT_CONFIG": str(apt / "apt.conf"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def _system_config() -> str:
    """The system's apt settings (proxies, keys, sources), without the commands that it would run after its own updates."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    return "".join(line + "\n" for line in dump.splitlines() if not line.lower().startswith(("apt::update::p", "dpkg::")))


def every_debian(status: str) -> str:
    """A dpkg status with the packages that no Debian lacks, taken from `status`, and those that we say are not needed."""
    installed: dict[str, tuple[dict[str, str], str]] = {}
    providers: dict[str, list[str]] = {}
    for stanza in status.split("\n\n"):
        fields = dict(_FIELD.findall(stanza))
        if fields.get("Status", "").endswith(" installed"):
            installed[fields["Package"]] = fields, stanza.strip("\n")
            for name in _DEPENDED.findall(fields.get("Provides", "")):
                providers.setdefault(name, []).append(fields["Package"])
    todo = [
        name
        for name, (fields, _) in installed.items()
        if fields.get("Essential") == "yes" or fields.get("Priority") == "required" or name == "apt"
    ]
    kept: set[str] = set()
    while todo:
        name = todo.pop()
        if name in installed and name not in kept:
            kept.add(name)
            fields = installed[name][0]
            depended = _DEPENDED.findall(f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}")
            todo += [provider for wanted in depended for provider in (wanted, *providers.get(wanted, ()))]
    return "\n\n".join([installed[name][1] for name in sorted(kept)] + [_pretended(name) for name in UNUSED if name not in kept]) + "\n\n"


def _pretended(package: str) -> str:
    return (
        f"Package: {package}\nStatus: install ok installed\nPriority: optional\nSection: misc\nMaintainer: none\n"
        f"Architecture: all\nMulti-Arch: foreign\nVersion: 9999\nDescription: not needed"
    )


def _unpack(archives: list[Path]) -> None:
    """Lay the archives over each other, in the merged layout that Debian has (`dpkg -x` would replace its links by folders)."""
    for folder in ("bin", "sbin", "lib", "lib64"):
        (ROOT / "usr" / folder).mkdir(parents=True, exist_ok=True)
        if not (ROOT / folder).is_symlink():
            (ROOT / folder).symlink_to(f"usr/{folder}")
    for archive in archives:
        with subprocess.Popen(["dpkg", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as reader:
            tar = subprocess.run(
                ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "--no-same-permissions", "-C", str(ROOT)],
                stdin=reader.stdout,
                capture_output=True,
                text=True,
                check=False,
            )
        if reader.returncode or tar.returncode:
            raise InstallError(f"{archive.name} could not be unpacked: {tar.stderr}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
