"""`triptych serve`: one REST service over the released models."""

import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
)
from datetime import UTC, datetime
from typing import Annotated, Any

import pandas as pd
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from apps.chatbot.handover_rest import handover_router
from apps.chatbot.learning.review_rest import review_router
from apps.chatbot.opening import chatbot_settings
from apps.chatbot.rate_limit import RateLimit
from apps.chatbot.rest import chat_router, refusals
from apps.chatbot.rounds import Rounds
from apps.chatbot.service import open_conversations
from apps.chatbot.widget_rest import PATH as WIDGET
from apps.chatbot.widget_rest import widget_site
from apps.news_monitor.labelling import Labeller
from apps.news_monitor.links import PATH as ANSWERS
from apps.news_monitor.links import Links
from apps.news_monitor.rest import answer_site
from apps.recommender.live import open_live
from apps.recommender.rest import recommender_router
from pipelines.monitoring import news_settings
from shared.device import Device
from shared.errors import ModelNotFoundError, SettingsError, TriptychError
from shared.inference.model_encoders import OpenEncoders
from shared.registry import Registry
from shared.settings import Home, database_url

TOKEN_VARIABLE = "TRIPTYCH_TOKEN"
LOCAL = ("127.0.0.1", "localhost", "::1")


class Headlines(BaseModel):
    """Texts to label."""

    texts: Annotated[list[Annotated[str, Field(max_length=10_000)]], Field(max_length=1000)]


def serve_forever(
    home: Home,
    *,
    models: Mapping[str, str],
    host: str,
    port: int,
    threads: int | None,
    device: Device = "auto",
) -> None:
    """Serve until interrupted. Beyond this machine a token is required.

    Raises:
        SettingsError: `host` is reachable from outside and TRIPTYCH_TOKEN is not set, or the
            device is not there.
        ModelError: no model at all, or a broken one.
    """
    token = os.environ.get(TOKEN_VARIABLE) or None
    if host not in LOCAL and token is None:
        raise SettingsError(
            f"--host {host} can be reached from other machines: set {TOKEN_VARIABLE} to a secret "
            "that clients send as `Authorization: Bearer …`, or listen on 127.0.0.1"
        )
    app = build_service(home, models=models, threads=threads, device=device, token=token)
    uvicorn.run(app, host=host, port=port, log_level="info")


def build_service(
    home: Home,
    *,
    models: Mapping[str, str],
    threads: int | None = None,
    device: Device = "auto",
    token: str | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> FastAPI:
    """The service, with the routes of those applications that have a released model, and the
    pages behind the links in alert mails where [news.links] wants them.

    models: application -> model reference.
    """
    registry = Registry(home.models, clock)
    background: list[AbstractContextManager[object]] = []
    service = FastAPI(
        lifespan=_running(background),
        title="Triptych",
        summary="Chatbot, news labels and recommendations over REST.",
        dependencies=[Depends(_guard(token))],
        responses=refusals(400),  # a body that is no JSON
    )
    serving: dict[str, str] = {}
    opened = OpenEncoders()
    openers: dict[str, Callable[[str], Any]] = {
        "chatbot": lambda ref: background.append(
            _add_chatbot(service, ref, home, threads, device, clock, opened, token)
        ),
        "news": lambda ref: _add_news(
            service, registry.resolve(ref, app="news"), home, threads, device, opened
        ),
        "recommender": lambda ref: _add_recommender(
            service, registry.resolve(ref, app="recommender"), home, threads, device, clock
        ),
    }
    for name, opener in openers.items():
        try:
            version = registry.resolve(models[name], app=name)
        except ModelNotFoundError:
            continue
        opener(models[name])
        serving[name] = f"{version.name}@{version.version}"
    answering = _add_answers(service, home, clock)
    if not serving and not answering:
        raise ModelNotFoundError(
            f"{home.models} has none of the models {', '.join(models.values())}; train one with "
            "`triptych train`, or all three with `triptych demo`"
        )

    @service.get("/health")
    def health() -> dict[str, Any]:
        """Which model serves which application."""
        return {"status": "ok", "models": serving}

    _explain_errors(service)
    return service


def _explain_errors(service: FastAPI) -> None:
    service.add_exception_handler(RequestValidationError, refuse_body)

    @service.exception_handler(TriptychError)
    def mendable(_request: Request, error: TriptychError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=503)


def refuse_body(_request: Request, error: Exception) -> Response:
    """422 without what was sent: a lone surrogate or a NaN in it could not be sent back."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    told = [{key: each[key] for key in ("type", "loc", "msg")} for each in found]
    return Response(json.dumps({"detail": told}), 422, media_type="application/json")


def _guard(token: str | None) -> Callable[[Request], None]:
    """A check that the request carries the token, as `Bearer` header or `?token=`."""

    def check(request: Request) -> None:
        if token is None:
            return
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        sent = sent or request.query_params.get("token", "")
        if not secrets.compare_digest(sent.encode(), token.encode()):
            raise HTTPException(401, "missing or wrong token")

    return check


def _running(
    background: Sequence[AbstractContextManager[object]],
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What runs beside the requests, from the service's start to its end."""

    @asynccontextmanager
    async def lifespan(_service: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as stack:
            for each in background:
                stack.enter_context(each)
            yield

    return lifespan


def _add_chatbot(
    service: FastAPI,
    reference: str,
    home: Home,
    threads: int | None,
    device: Device,
    clock: Callable[[], datetime],
    opened: OpenEncoders,
    token: str | None,
) -> Rounds:
    """The chatbot's routes; returned is what must run beside them."""
    settings = chatbot_settings()
    conversations = open_conversations(
        reference, home=home, clock=clock, threads=threads, device=device, opened=opened
    )
    limit = RateLimit(settings.messages_per_minute, time.monotonic)
    service.include_router(chat_router(conversations.bot, conversations, limit))
    service.include_router(
        handover_router(conversations.handovers, lambda: conversations.bot.answers)
    )
    service.include_router(review_router(conversations.engine, conversations.bot_name, clock))
    if token is None or settings.widget_origins:
        visits = RateLimit(settings.messages_per_minute, time.monotonic)
        site = widget_site(conversations, origins=settings.widget_origins, limit=visits)
        _explain_errors(site)
        service.mount(WIDGET, site)
    return Rounds(conversations.handovers, teaching=conversations.teaching)


def _add_news(
    service: FastAPI,
    version: Any,
    home: Home,
    threads: int | None,
    device: Device,
    opened: OpenEncoders,
) -> None:
    labeller = Labeller.load(version.path, home=home, threads=threads, device=device, opened=opened)

    @service.post("/v1/news/label", tags=["news"])
    def label(headlines: Headlines) -> list[dict[str, Any]]:
        """Sentiment and topics of each text, in order."""
        return _records(labeller.predict_frame(headlines.texts))


def _add_answers(service: FastAPI, home: Home, clock: Callable[[], datetime]) -> bool:
    """The links of alert mails: signed, they need no token. False without [news.links]."""
    settings = news_settings()
    links = Links.of(settings.links)
    if links is None:
        return False
    database = database_url(home, os.environ)
    service.mount(ANSWERS, answer_site(database, links, clock, settings.dashboard_url))
    return True


def _add_recommender(
    service: FastAPI,
    version: Any,
    home: Home,
    threads: int | None,
    device: Device,
    clock: Callable[[], datetime],
) -> None:
    live = open_live(version.path, home=home, threads=threads, device=device, clock=clock)
    service.include_router(recommender_router(live))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = frame.to_dict("records")  # type: ignore[assignment]
    return rows
