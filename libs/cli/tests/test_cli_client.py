"""What the commands do when the gateway has taken in its number for now."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from darkroom_cli import door
from darkroom_cli.client import Gateway, GatewayError, RefusedError
from darkroom_cli.paths import DataFolder

DETAIL = "The limit is 10 imports a minute. Try again in 6 s."


class MadeUp:
    """Refuses the first requests, or those before the clock says so; keeps what it was sent."""

    def __init__(self, refusals: int, status: int = 429, after: str | None = "6") -> None:
        self.refusals, self.status, self.after = refusals, status, after
        self.bodies: list[bytes] = []
        self.waited: list[float] = []
        self.told: list[str] = []
        self.gateway = Gateway("http://door", self.told.append)
        transport = httpx.MockTransport(self.answer)
        self.gateway._http = httpx.Client(base_url=self.gateway.url, transport=transport)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        if len(self.bodies) > self.refusals:
            return httpx.Response(202, json={"batch_id": "b"})
        body = {"title": "no", "detail": DETAIL, "code": "rate_limited"}
        headers = {} if self.after is None else {"Retry-After": self.after}
        return httpx.Response(self.status, json=body, headers=headers)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[..., MadeUp]:
    def one(refusals: int, status: int = 429, after: str | None = "6") -> MadeUp:
        made = MadeUp(refusals, status, after)
        monkeypatch.setattr("darkroom_cli.client.time.sleep", made.waited.append)
        return made

    return one


Make = Callable[..., MadeUp]


def test_a_command_waits_as_long_as_it_is_asked_to_and_says_why(made: Make) -> None:
    door = made(2)
    assert door.gateway.start_import([Path("/photos")], "batch") == {"batch_id": "b"}
    assert door.waited == [6, 6]
    assert door.told == [f"{DETAIL} Waiting."] * 2


def test_a_file_is_sent_from_its_beginning_again(made: Make, tmp_path: Path) -> None:
    file = tmp_path / "cat.jpg"
    file.write_bytes(b"cat" * 100)
    door = made(1)
    door.gateway.analyze(file)
    door.gateway.start_archive(file, "batch", {})
    assert door.bodies == [b"cat" * 100] * 3


@pytest.mark.parametrize(("after", "tries"), [("6", 21), ("0", 121), ("121", 1), (None, 1)])
def test_a_command_does_not_wait_for_ever(made: Make, after: str | None, tries: int) -> None:
    door = made(1_000, after=after)
    with pytest.raises(RefusedError, match="The limit is 10 imports"):
        door.gateway.start_store("s3://b/x", "batch", {})
    assert len(door.bodies) == tries
    assert sum(door.waited) <= 120


def test_only_what_a_rate_limit_refuses_is_tried_again(made: Make) -> None:
    door = made(1, status=503)
    with pytest.raises(RefusedError):
        door.gateway.reprocess({"filter": {"all": True}})
    assert door.waited == []


def test_the_key_of_the_environment_is_sent_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DARKROOM_API_KEY", " dk_5f0c_secret\n")
    gateway = door.gateway("http://door", DataFolder(tmp_path))
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        body = {"title": "no", "detail": "This needs a key.", "code": "unauthenticated"}
        return httpx.Response(401, json=body)

    headers = gateway._http.headers
    gateway._http = httpx.Client(
        base_url="http://door", transport=httpx.MockTransport(answer), headers=headers
    )
    with pytest.raises(RefusedError, match=r"needs a key\. .*DARKROOM_API_KEY") as refused:
        gateway.load()
    assert seen == ["Bearer dk_5f0c_secret"]
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", ["dk_5f0c_sécret", "dk_5f0c_sec\nret", " "])
def test_what_can_be_no_key_is_not_sent_and_not_shown(key: str) -> None:
    with pytest.raises(GatewayError) as refused:
        Gateway("http://door", key=SecretStr(key))
    assert str(refused.value) == "DARKROOM_API_KEY is no key"
