"""The chat for web pages: a script that shows it, and the one route that it needs.

It is open to everybody, so that it asks for no token and gives only what a customer may see. Who
writes is known by a number that no one can guess; it reaches no conversation but its own.
"""

import math
from collections.abc import Sequence
from pathlib import Path as File
from typing import Annotated

from fastapi import FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from apps.chatbot.conversation import Conversations
from apps.chatbot.rate_limit import RateLimit
from apps.chatbot.rest import LARGEST_NUMBER, Problem, Said

PATH = "/widget"
FOLDER = File(__file__).parent / "widget"
LONGEST_MESSAGE = 2_000
PREFIX = "web-"  # of the senders that write from pages
HEADERS = {
    "Cache-Control": "public, max-age=300",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
DEMO_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
}


class Visit(BaseModel):
    """What the script asks: everything above `after`, and to say `message` first if there is one. A
    message that comes again with the same message_id changes nothing."""

    visitor: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    after: Annotated[int, Field(ge=0, le=LARGEST_NUMBER)] = 0
    message: Annotated[str, Field(max_length=LONGEST_MESSAGE)] | None = None
    message_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")] | None = None


class Chat(BaseModel):
    """messages: of both sides, in order. person: somebody is asked for or in charge, so that more
    may come unasked."""

    messages: list[Said]
    person: bool


def widget_site(
    conversations: Conversations, *, origins: Sequence[str], limit: RateLimit
) -> FastAPI:
    """The site, to be mounted at PATH. origins: of the pages that may show it; those of this
    service may without being named. limit: for each visitor and for each address."""
    site = FastAPI(title="Triptych's chat for web pages", docs_url=None, redoc_url=None)
    if origins:
        site.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["POST"],
            allow_headers=["Content-Type"],
        )

    @site.get("/", include_in_schema=False)
    def demo() -> FileResponse:
        return FileResponse(FOLDER / "demo.html", headers=DEMO_HEADERS)

    @site.get("/widget.js", include_in_schema=False)
    def script() -> FileResponse:
        return FileResponse(FOLDER / "widget.js", media_type="text/javascript", headers=HEADERS)

    @site.post("/messages", responses={code: {"model": Problem} for code in (400, 429, 503)})
    def messages(visit: Visit, request: Request) -> Chat:
        """Say something, or look whether somebody has."""
        sender = PREFIX + visit.visitor
        address = request.client.host if request.client else ""
        if seconds := max(limit.wait(sender), limit.wait(f"from {address}")):
            raise HTTPException(
                429,
                f"too many messages; the next one in {math.ceil(seconds)} s",
                {"Retry-After": str(math.ceil(seconds))},
            )
        if visit.message is not None:
            conversations.handle(sender, visit.message, visit.message_id)
        said, person = conversations.both_sides(sender, visit.after)
        return Chat(messages=[Said.model_validate(each.public) for each in said], person=person)

    return site
