"""Shards computed by several processes of this machine, each with its own model."""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice

import pandas as pd
from threadpoolctl import threadpool_limits

from shared.errors import ServiceError
from shared.shards import KEPT, Finished, Job, Shard, Work


class ProcessEngine:
    """See shared.shards.Engine. Fresh processes, not copies of this one: threads that are computing
    here would be missing there."""

    def __init__(self, workers: int, *, threads: int = 1) -> None:
        """threads: of each worker's linear algebra; the job itself says what else it uses."""
        self.workers = workers
        self.threads = threads

    def compute(self, job: Job, shards: Sequence[Shard]) -> Iterator[Finished]:
        """Every shard once, as they finish.

        Raises ServiceError where a worker dies, and what the job raises.
        """
        workers = min(self.workers, len(shards))
        waiting = iter(shards)
        out: dict[Future[pd.DataFrame], Shard] = {}
        with ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(job, self.threads),
        ) as pool:

            def give(shard: Shard) -> None:
                out[pool.submit(_do, shard.keys)] = shard

            try:
                for shard in islice(waiting, workers):
                    give(shard)
                while out:
                    for done in wait(out, return_when=FIRST_COMPLETED).done:
                        shard = out.pop(done)
                        frame = done.result()
                        for following in islice(waiting, 1):
                            give(following)
                        yield Finished(shard, frame)
            except BrokenProcessPool as error:
                raise ServiceError(
                    f"a worker process died, most often for want of memory; {KEPT}, "
                    "also with fewer --workers"
                ) from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


@dataclass
class _Worker:
    """A worker process. work: None until the first shard: what goes wrong in loading is then the
    shard's error, and is told."""

    job: Job | None = None
    work: Work | None = None


_THIS = _Worker()


def _begin(job: Job, threads: int) -> None:
    _THIS.job = job
    threadpool_limits(threads)
    # A worker whose master was killed would wait for its next shard for ever.
    threading.Thread(target=_end_with_master, daemon=True).start()


def _end_with_master() -> None:
    master = multiprocessing.parent_process()
    if master is not None:
        master.join()
        os._exit(1)


def _do(keys: Sequence[str]) -> pd.DataFrame:
    if _THIS.work is None:
        assert _THIS.job is not None
        _THIS.work = _THIS.job.open()
    return _THIS.work(keys)
