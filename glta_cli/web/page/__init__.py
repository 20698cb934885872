"""The page at `/`: its files, and the routes that give them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse

from glta_cli.web.refusals import refused

router = APIRouter(include_in_schema=False)
"""Routes of the page: `/`, and its files below `/page/`, which are given without a token (`guards.py`)."""

FILES: Final = Path(__file__).parent / "files"
KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# What the page asks for is all there is: nothing of it comes from another host, and no script stands in it.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Asked for again after an update of the package, and not sent again where it is the same.
    "cache-control": "no-cache",
}


@router.get("/")
async def page() -> FileResponse:
    """The page itself."""
    return _file("index.html")


@router.get("/page/{name}")
async def part(name: str) -> FileResponse:
    """A file the page is made of."""
    return _file(name)


def _file(name: str) -> FileResponse:
    path = FILES / name
    if path.parent != FILES or path.suffix not in KINDS or not path.is_file():
        raise refused(404, "page", f"the page has no file of that name: {name}", None)
    return FileResponse(path, headers=HEADERS, media_type=KINDS[path.suffix])
