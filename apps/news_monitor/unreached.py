"""Hosts to which no connection could be made: in the same round none of their feeds is asked."""

from typing import Any
from urllib.parse import urlsplit

import httpx

from apps.news_monitor.feeds import Fetched, FetchStatus

FAILED = ("connection.connect_tcp.failed", "connection.start_tls.failed")


class Unreached:
    """Notes, in any thread of a round, where connecting failed. client: the round's own."""

    def __init__(self, client: httpx.Client) -> None:
        self._places: set[tuple[str, int | None]] = set()
        hooks = client.event_hooks
        client.event_hooks = {**hooks, "request": [*hooks.get("request", ()), self._watch]}

    def instead(self, url: str) -> Fetched | None:
        """What becomes of a feed of such a host, without a try; None of any other."""
        try:
            parts = urlsplit(url)
            place = (parts.hostname or "", parts.port)
        except ValueError:
            return None
        if place not in self._places:
            return None
        said = f"not asked: {place[0]} was not reached for another feed of it in this round"
        return Fetched(FetchStatus.FAILED, url, error=said)

    def _watch(self, request: httpx.Request) -> None:
        place = (request.url.host, request.url.port)

        def trace(event: str, _info: dict[str, Any]) -> None:
            if event in FAILED:
                self._places.add(place)

        request.extensions = {**request.extensions, "trace": trace}
