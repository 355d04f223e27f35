"""Which role each route needs, who may ask without a key, and who guesses too often."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from pydantic import ValidationError
from starlette.requests import HTTPConnection

from gateway.api.application import application
from gateway.api.catalog import Catalog
from gateway.api.door import Door
from gateway.api.permissions import NEEDED, OPEN
from gateway.api.problems import ProblemError
from gateway.api.speakers import Claim, Keeper, Speaker
from gateway.catalog import keys
from gateway.catalog.keys import Holder, Stranger
from gateway.roles import ROLES, Role, reaches
from gateway.settings import Settings
from streamkit.testing import FakeClock

ADA = Holder("5f0c4a7e9b21", "ada", "reviewer", "local")
SOCKET = "WS /v1/events"
WORLD = "0.0.0.0"  # noqa: S104  # no test listens there


def settings(**changes: Any) -> Settings:
    return Settings(_cli_parse_args=[], **changes)


def asking(host: str = "127.0.0.1", **headers: str) -> HTTPConnection:
    named = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return HTTPConnection(
        {"type": "http", "method": "GET", "path": "/", "headers": named, "client": (host, 1)}
    )


class Locks(Catalog):
    """A catalog with one key, and what was asked of it."""

    def __init__(self) -> None:
        self.owner = ""
        self.looked = 0
        self.told = 0

    async def ask(self, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if question is keys.tell_stranger:
            self.told += 1
            return None
        assert question is keys.holder_of
        self.looked += 1
        return ADA if args[0] == "right" else Stranger("unknown")


@pytest.fixture
def locks() -> Locks:
    return Locks()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keeper(locks: Locks, clock: FakeClock) -> Keeper:
    return Keeper(locks, "admin", clock)


def test_every_route_says_which_role_it_needs() -> None:
    absent = dict.fromkeys(("quotas", "shares", "keeper"))
    door = cast(Door, type("Nothing", (), {"settings": settings(), **absent}))
    described = application(door).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, found in described.items() for method in found}
    assert routes - OPEN - NEEDED.keys() == set()
    photo = described["/v1/photos"]["post"]
    assert (photo["x-role"], photo["security"]) == ("uploader", [{"key": []}, {"session": []}])
    assert {"401", "403"} <= photo["responses"].keys()
    assert "security" not in described["/livez"]["get"]
    named = {name for name in OPEN | NEEDED.keys() if " /v1/" in name}  # pages are not described
    assert named - routes == {SOCKET}
    assert OPEN & NEEDED.keys() == set()


def test_each_role_may_do_all_that_the_ones_before_it_may() -> None:
    assert " ".join(ROLES) == "viewer uploader reviewer trainer admin"
    for place, role in enumerate(ROLES):
        assert [reaches(role, needed) for needed in ROLES] == [at <= place for at in range(5)]


@pytest.mark.parametrize(
    ("host", "wanted", "role"),
    [
        ("127.0.0.1", "admin", "admin"),
        ("::1", "admin", "admin"),
        ("localhost", "viewer", "viewer"),
        ("127.0.0.1", "none", None),
        (WORLD, "none", None),
        ("photos.home", "none", None),
    ],
)
def test_only_on_the_loopback_nobody_needs_a_key(host: str, wanted: Any, role: Role | None) -> None:
    assert settings(api_host=host, anonymous=wanted).anonymous_role == role


@pytest.mark.parametrize("host", [WORLD, "::", "192.168.0.2", "photos.home", ""])
def test_a_door_to_the_world_does_not_start_without_keys(host: str) -> None:
    with pytest.raises(ValidationError, match="DARKROOM_ANONYMOUS=viewer would give everybody"):
        settings(api_host=host, anonymous="viewer")


@pytest.mark.parametrize(
    "header", ["forwarded", "x_forwarded_for", "x_forwarded_host", "x_real_ip", "via"]
)
async def test_what_a_proxy_passed_on_needs_a_key(keeper: Keeper, header: str) -> None:
    assert (await keeper.speaker(asking())).role == "admin"
    with pytest.raises(ProblemError, match="This needs a key") as refused:
        await keeper.speaker(asking(**{header: "for=10.0.0.7"}))
    assert (refused.value.headers or {})["WWW-Authenticate"].startswith("Bearer")
    known = await keeper.speaker(asking(**{header: "10.0.0.7", "authorization": "Bearer right"}))
    assert known.holder == ADA


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic right", "right", ""])
async def test_who_shows_a_wrong_key_is_not_taken_for_nobody(keeper: Keeper, header: str) -> None:
    with pytest.raises(ProblemError, match="opens nothing"):
        await keeper.speaker(asking(authorization=header))


async def test_who_guesses_is_not_looked_up_any_more_and_others_are(
    keeper: Keeper, locks: Locks, clock: FakeClock
) -> None:
    await keeper.holder("right", "10.0.0.7")
    for number in range(10):
        with pytest.raises(ProblemError, match="opens nothing"):
            await keeper.holder(f"guess {number}", "10.0.0.7")
    locks.looked = 0
    with pytest.raises(ProblemError, match="Try in 6 s") as refused:
        await keeper.holder("guess", "10.0.0.7")
    assert (refused.value.status_code, refused.value.code) == (429, "too_many_attempts")
    assert (refused.value.headers or {})["Retry-After"] == "6"
    assert locks.looked == 0
    assert await keeper.holder("right", "10.0.0.7") == ADA, "it opened something before"
    with pytest.raises(ProblemError, match="opens nothing"):
        await keeper.holder("guess", "10.0.0.8")
    clock.now += 6
    with pytest.raises(ProblemError, match="opens nothing"):
        await keeper.holder("guess", "10.0.0.7")


async def test_strangers_do_not_fill_the_audit_log(keeper: Keeper, locks: Locks) -> None:
    for number in range(100):
        with pytest.raises(ProblemError):
            await keeper.holder("guess", f"10.0.0.{number}")
    assert (locks.looked, locks.told) == (100, 60)


def test_nobody_speaks_for_a_key_and_no_key_for_others() -> None:
    assert Speaker("admin", ADA).named(Claim("ben")) == "key:ada"
    assert Speaker("admin").named() == "local"
    assert Speaker("admin").named(Claim("ben")) == "ben"
    assert Speaker("admin").named(Claim(" Key:ada")) == "local"
