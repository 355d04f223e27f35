"""The page at / and its files."""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from gateway.api.headers import PAGE_POLICY

router = APIRouter()

FOLDER: Final = Path(str(files("gateway"))) / "static"

DESCRIPTION: Final = "/v1/openapi.json"

_ASK_AGAIN: Final = {"Cache-Control": "no-cache"}
"""Browsers keep the files and ask whether they are still the same."""


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """The page of all photos."""
    return _page("index.html")


@router.get("/failures", include_in_schema=False)
async def failures_page() -> Response:
    """The page of what failed."""
    return _page("failures.html")


@router.get("/operations", include_in_schema=False)
async def operations_page() -> Response:
    """The page of what goes on."""
    return _page("operations.html")


def _page(name: str) -> Response:
    headers = {**_ASK_AGAIN, "Content-Security-Policy": PAGE_POLICY}
    return FileResponse(FOLDER / name, headers=headers)


def sign_in_page(headers: Mapping[str, str]) -> Response:
    """The form to sign in, as the body of a 401: it stands in for whatever may not be seen yet.

    Its address is that of what was asked for, which is there after a reload: so nobody can be led
    elsewhere.
    """
    policy = {"Cache-Control": "no-store", "Content-Security-Policy": PAGE_POLICY}
    return FileResponse(FOLDER / "sign-in.html", 401, {**headers, **policy})


@router.get("/openapi.json", include_in_schema=False)
async def description() -> Response:
    """Where programs look for the description of the interface."""
    return RedirectResponse(DESCRIPTION)


@router.get("/favicon.ico", include_in_schema=False)
async def favicon() -> Response:
    """The icon, for browsers that ask here without being told."""
    return FileResponse(FOLDER / "icon.svg", headers=_ASK_AGAIN)


class PageFiles(StaticFiles):
    """Scripts, styles and pictures of the page."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """A file, to be asked for again."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_ASK_AGAIN)
        return response
