"""What must be done though nobody asks: time-outs, telling the outside, what was taught."""

import logging
import threading

from sqlalchemy.exc import OperationalError

from apps.chatbot.handover import Handovers
from apps.chatbot.learning.live_teaching import LiveTeaching
from shared.errors import ServiceError

LOG = logging.getLogger(__name__)
SECONDS = 2.0
# A delivery that is under way when the process ends is left: it is sent again after its lease.
JOIN_SECONDS = 3.0


class Rounds:
    """A thread that, every few seconds, returns chats whose time has run out, delivers what is due
    and teaches this process's bot what was accepted since. Several processes may do so at once. A
    context: the thread ends with it."""

    def __init__(
        self,
        handovers: Handovers,
        *,
        teaching: LiveTeaching | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._handovers = handovers
        self._teaching = teaching
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
                if self._teaching is not None:
                    self._teaching.refresh()
            except (ServiceError, OperationalError) as error:
                # Locked or not reached: nothing is lost, the next round may do.
                LOG.warning("chatbot rounds: %s", error)
