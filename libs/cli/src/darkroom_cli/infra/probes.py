"""How each kind of program shows that it is ready. See `supervision.spec.Probe`."""

import http.client
import socket
import urllib.error
import urllib.request

from darkroom_cli.supervision.spec import NotReadyError, Probe

_TIMEOUT = 2.0


def require_listener(port: int) -> None:
    """Raises NotReadyError while nothing accepts connections on the loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), _TIMEOUT).close()
    except OSError as error:
        raise NotReadyError(f"nothing listens on 127.0.0.1:{port}") from error


def http_ok(port: int, path: str) -> Probe:
    """Ready when GET answers 200."""
    url = f"http://127.0.0.1:{port}{path}"

    def probe() -> None:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
                answer.read(4096)
        except urllib.error.HTTPError as error:
            detail = error.read(200).decode(errors="replace").strip()
            raise NotReadyError(f"{url} answers {error.code} {detail}".rstrip()) from error
        except (OSError, http.client.HTTPException) as error:
            raise NotReadyError(f"{url} does not answer") from error

    return probe
