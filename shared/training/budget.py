"""How the minutes of a call are shared out: fine-tuning gets what the rest of the call leaves.

A call reads, fits the fusion without fine-tuning, fine-tunes, fits the fusion with the encoder,
judges it and writes a report. Whoever gives it ten minutes means all of that. What came before
fine-tuning is read off a clock, and tells how long what comes after will take. Nothing heavy is
imported here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from shared.training.options import TrainOptions

# What follows fine-tuning, as a share of what came before it: the same texts are encoded again, the
# same scorers fitted, held-out rows read. Measured on the samples, one run each on a busy machine:
# .98 for the news, .55 for the chatbot.
AFTER = 1.0


@dataclass(frozen=True)
class Share:
    """What one fine-tuning gets of a call.

    seconds: it may take, from its call to the model it hands back; None: as many as it needs.
    before: of the call, used when it begins; None where no call is known of around it. after: that
    the rest of the call is expected to take. further: runs like it that may follow, in lengths of
    this one, and `what` they are.
    """

    seconds: float | None = None
    before: float | None = None
    after: float = 0.0
    further: float = 0.0
    what: str = ""

    @classmethod
    def of(cls, options: TrainOptions) -> "Share":
        """Of a fine-tuning that nothing surrounds."""
        return cls(None if options.minutes is None else 60 * options.minutes)

    @property
    def minutes(self) -> float | None:
        return None if self.seconds is None else self.seconds / 60

    def line(self, whole: float) -> str:
        """Of a call that may take `whole` seconds, before it is fine-tuned."""
        used, after = ((seconds or 0.0) / 60 for seconds in (self.before, self.after))
        line = (
            f"Of {whole / 60:.3g} minutes {self.minutes or 0.0:.1f} are left for fine-tuning: "
            f"{used:.1f} are used, and what follows takes about {after:.1f}"
        )
        return line if self.seconds else f"{line}; give more minutes, or --method frozen"

    def outlook(self, seconds: float) -> str | None:
        """The forecast of the whole call where fine-tuning takes `seconds` of it."""
        if self.before is None:
            return None
        line = (
            f"With what came before ({self.before / 60:.1f}) and comes after (about "
            f"{self.after / 60:.1f}): {(self.before + seconds + self.after) / 60:.1f} minutes in "
            "all"
        )
        if not self.further:
            return line
        room = "" if self.seconds is None else " and the budget has room"
        return (
            f"{line}, and up to {self.further * seconds / 60:.1f} more for {self.what}, if the "
            f"encoder is kept{room}"
        )


@dataclass(frozen=True)
class CallBudget:
    """The clock of a call, and what it may take.

    seconds: of the whole call, None without a limit. tuning: of all its fine-tuning together,
    likewise. began: what `clock` said when the call did, in seconds.
    """

    seconds: float | None
    tuning: float | None
    began: float
    clock: Callable[[], float]

    @classmethod
    def of(cls, options: TrainOptions, clock: Callable[[], float]) -> "CallBudget":
        """Of a call that began when the options say, or begins now."""
        whole, tuning = (
            None if minutes is None else 60 * minutes
            for minutes in (options.call_minutes, options.minutes)
        )
        return cls(whole, tuning, clock() if options.began is None else options.began, clock)

    def spent(self) -> float:
        """Seconds since the call began."""
        return self.clock() - self.began

    def share(self) -> Share:
        """Of a fine-tuning that begins now, the first of the call. Nothing is left to it, and then
        it takes a single step, where the rest of the call needs all of the time."""
        before = self.spent()
        after = AFTER * before
        left = None if self.seconds is None else max(0.0, self.seconds - before - after)
        return Share(_smaller(left, self.tuning), before, after)

    def left(self, tuned: float, *, after: float, earlier: float = 0.0) -> float | None:
        """Seconds for one more fine-tuning, None without a limit.

        tuned: seconds of fine-tuning so far. after: that the call needs once it is over. earlier:
        seconds of a first attempt, which the clock of this call has not seen.
        """
        whole = None if self.seconds is None else self.seconds - self.spent() - earlier - after
        return _smaller(whole, None if self.tuning is None else self.tuning - tuned)


def _smaller(one: float | None, other: float | None) -> float | None:
    """None is without a limit."""
    known = [seconds for seconds in (one, other) if seconds is not None]
    return min(known, default=None)
