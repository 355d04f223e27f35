"""The mail server as the settings name it, checked when they are read."""

from dataclasses import dataclass, field
from email.utils import parseaddr
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

from gateway.notifications.targets import TargetError, checked_addresses

_PORTS: Final = {"smtp": 587, "smtps": 465}

HOW: Final = (
    "No mail server is set. Set DARKROOM_SMTP_URL, such as smtp://user:password@mail.example.com,"
    " and DARKROOM_SMTP_FROM for both the api and the control door."
)


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where email is handed in. `tls`: from the first byte; else by STARTTLS, which a server
    elsewhere must offer before it is told a password."""

    host: str
    port: int
    tls: bool
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def here(self) -> bool:
        """Whether it runs on this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def mail_server(url: str) -> MailServer:
    """The server of `smtp[s]://[user:password@]host[:port]`. Raises ValueError, which does not
    repeat the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        port = 0
    if not port or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("wants smtp://user:password@host:port or smtps://…")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return MailServer(parts.hostname, port, parts.scheme == "smtps", user, password)


def sender(address: str) -> str:
    """The sender as it is written in a header. Raises ValueError."""
    plain = parseaddr(address)[1]
    try:
        checked_addresses([plain])
    except TargetError:
        plain = ""
    if not plain or not address.isprintable():
        raise ValueError("wants an address, such as Darkroom <darkroom@example.com>")
    return address
