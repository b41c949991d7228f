"""What must be done though nobody asks: time-outs, and telling the outside."""

import logging
import threading

from sqlalchemy.exc import OperationalError

from apps.chatbot.handover import Handovers
from shared.errors import ServiceError

LOG = logging.getLogger(__name__)
SECONDS = 2.0
# A delivery that is under way when the process ends is left: it is sent again after its lease.
JOIN_SECONDS = 3.0


class Rounds:
    """A thread that, every few seconds, returns chats whose time has run out and delivers what is
    due. Several processes may do so at once. A context: the thread ends with it."""

    def __init__(self, handovers: Handovers, *, seconds: float = SECONDS) -> None:
        self._handovers = handovers
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="handover rounds", daemon=True)

    def __enter__(self) -> "Rounds":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self._handovers.expire()
                self._handovers.deliveries.deliver_due()
            except (ServiceError, OperationalError) as error:
                # Locked or not reached: nothing is lost, the next round may do.
                LOG.warning("handovers: %s", error)
