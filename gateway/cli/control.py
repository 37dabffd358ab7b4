"""Speaking to a running gateway over its control socket."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from gateway.core.settings import Settings

_SECONDS = 10.0


class NotRunningError(Exception):
    """No gateway listens on the control socket."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("gateway", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


def ask(settings: Settings, method: str, path: str, body: dict[str, str] | None = None) -> tuple[int, bytes]:
    """(HTTP status, octets) of one request. Raises NotRunningError."""
    connection = _UnixConnection(settings.data_dir / "control.sock")
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunningError(f"no gateway is running on {settings.data_dir}") from None
    except OSError as error:
        raise NotRunningError(f"{settings.data_dir}/control.sock: {error.strerror or error}") from None
    finally:
        connection.close()


def reason(octets: bytes) -> str:
    """The reason in a refusing answer."""
    try:
        found: Any = json.loads(octets)
        return str(found["reason"])
    except (ValueError, KeyError, TypeError):
        return octets.decode("utf-8", "replace").strip()
