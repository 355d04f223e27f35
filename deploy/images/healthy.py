"""Is the service ready? `python -I -S healthy.py PORT…` ends with 0 if one of the ports answers
GET /readyz with 200.

Run every few seconds beside the service, so with nothing but a socket: 15 ms of CPU instead of 100.
"""

import socket
import sys


def ready(port: int) -> bool:
    """Whether the service says so; False if nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError:
        return False
    return answer.split(None, 2)[1:2] == [b"200"]


if __name__ == "__main__":
    sys.exit(not any(ready(int(port)) for port in sys.argv[1:]))
