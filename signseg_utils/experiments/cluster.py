"""A Dask cluster as the executor of a sweep, and what to say when it is lost."""

import concurrent.futures
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from signseg_utils.basics.refusals import Refusal

CONNECT_SECONDS = 30
# How often a shard may lose its worker before the cluster gives it up. Shards continue from their
# checkpoints, so on nodes that are taken away at any time a lost worker is no sign of a bad shard.
ALLOWED_FAILURES = 20


class ClusterError(Refusal, RuntimeError):
    """The cluster cannot be reached, was lost, or gave a shard up; the message says what to do."""


@contextmanager
def connected(address: str) -> Iterator[concurrent.futures.Executor]:
    """An executor on a Dask cluster, for `signseg_utils.experiments.base.run`.

    Parameters
    ----------
    address
        ``local:N`` starts N processes here; ``tcp://host:port`` is the address of a scheduler;
        a path that ends in ``.json`` is a scheduler file. Workers must see the same folders and
        have the same packages.

    Raises
    ------
    ClusterError
        If ``distributed`` is not installed, nobody answers at the address, the connection is lost
        while shards run, or a shard has lost its worker too often.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise ClusterError(
            "expected the package distributed, because --cluster runs on Dask; it is not "
            "installed; pip install 'signseg-utils[cluster]', or use --workers N on one machine"
        ) from error
    lost = (
        concurrent.futures.CancelledError,
        distributed.comm.CommClosedError,
        distributed.KilledWorker,
    )
    with ExitStack() as stack:
        stack.enter_context(
            dask.config.set({"distributed.scheduler.allowed-failures": ALLOWED_FAILURES})
        )
        client = stack.enter_context(_client(distributed, address, stack))
        try:
            yield client.get_executor(pure=False)
        except lost as error:
            raise ClusterError(
                f"expected the cluster at {address} to stay; {_what(error)}; finished shards and "
                "checkpoints are kept: mend the cluster and give the same command again"
            ) from error


def _client(distributed: Any, address: str, stack: ExitStack) -> Any:
    kind, _, count = address.partition(":")
    if kind == "local":
        if not count.isdecimal() or int(count) < 1:
            raise ClusterError(f"expected local:N with N of 1 or more; got {address!r}")
        made = distributed.LocalCluster(
            n_workers=int(count), threads_per_worker=1, processes=True, dashboard_address=None
        )
        return distributed.Client(stack.enter_context(made))
    try:
        if address.endswith(".json"):
            return distributed.Client(scheduler_file=address, timeout=CONNECT_SECONDS)
        return distributed.Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise ClusterError(
            f"expected a Dask scheduler at {address!r}, like tcp://host:8786, a scheduler file "
            f"*.json, or local:N; got no answer ({error}); start one with `dask scheduler`"
        ) from error


def _what(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return f"a shard lost its worker {ALLOWED_FAILURES} times (memory? see the workers' logs)"
    return f"the connection was lost ({type(error).__name__})"
