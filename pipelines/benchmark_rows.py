"""A measured figure as `triptych benchmark` prints it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One system on one set. value, low, high: means over the seeds, of the figure and of its
    95 % interval."""

    data: str
    system: str
    measure: str
    value: float
    low: float | None
    high: float | None
    seconds: float | None


def table_of(rows: Sequence[Row]) -> Iterator[str]:
    """The rows as aligned lines."""
    yield f"{'data':<42} {'system':<40} {'measure':<26} {'value':>7}  interval"
    for row in rows:
        span = "" if row.low is None or row.high is None else f"{row.low:.3f}-{row.high:.3f}"
        seconds = "" if row.seconds is None else f"  {row.seconds:.0f} s"
        yield (
            f"{row.data:<42} {row.system:<40} {row.measure:<26} {row.value:>7.3f}  {span}{seconds}"
        )
