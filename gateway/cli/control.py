"""Speaking to a running gateway over its control socket."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.settings import Settings

from .common import REFUSED, end

_SECONDS = 10.0


class ControlError(GatewayError):
    """There is a control socket, and it cannot be spoken to."""


class NotRunningError(ControlError):
    """No gateway listens on the control socket."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("gateway", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


def ask(settings: Settings, method: str, path: str, body: Mapping[str, object] | None = None) -> bytes:
    """The octets of the answer; ends the command where the gateway says no. Raises NotRunningError, ControlError."""
    status, octets = _exchange(settings.data_dir / "control.sock", method, path, body)
    if status != 200:
        end(_reason(octets), REFUSED)
    return octets


def _exchange(path: Path, method: str, target: str, body: Mapping[str, object] | None) -> tuple[int, bytes]:
    connection = _UnixConnection(path)
    try:
        connection.request(method, target, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise NotRunningError(f"no gateway is running on {path.parent}; start one with `stoxgate run`") from None
    except PermissionError:
        raise ControlError(f"{path}: only the user that runs the gateway may speak to it") from None
    except TimeoutError:
        raise ControlError(f"{path}: the gateway has not answered within {_SECONDS:.0f} s") from None
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror or error}") from None
    except http.client.HTTPException as error:
        raise ControlError(f"{path}: this is no answer of a gateway: {error!r}") from None
    finally:
        connection.close()


def _reason(octets: bytes) -> str:
    """The reason in a refusing answer."""
    try:
        found: Any = json.loads(octets)
        return str(found["reason"])
    except (ValueError, KeyError, TypeError):
        return octets.decode("utf-8", "replace").strip() or "the gateway gives no reason"
