"""Trainings on the machines of a Dask cluster: its workers train and return rows, this process decides and writes.

Results need no shared file system. The script and its data do: they must be on every worker's machine, under the same
path as here. A worker whose code is another one is refused, since its trainings would not be comparable.
"""

import contextlib
import importlib
import threading
import uuid
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rectifier.comparison.question import Question, TrialSpec
from rectifier.comparison.script.trial import began, begin_record
from rectifier.comparison.script.worker import Returned, code_here, refuse, refused_code, stop_here, train_here
from rectifier.errors import NothingToCompare, RectifierError
from rectifier.records import Trial

INSTALL = "pip install 'rectifier[cluster]'"
_CONNECT_SECONDS = 10


# On the driver's machine. ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def connect(scheduler: str, question: Question, *, timeout: float | None = None) -> Iterator["ClusterLauncher"]:
    """Reach a scheduler, and refuse workers that have other code.

    Args:
        scheduler: Its address: `tcp://host:port`, or `tls://host:port` where Dask is configured for it.
        question: Whose script is to be trained.
        timeout: Seconds after which a training is killed.

    Raises:
        NothingToCompare: Dask is not installed here, that is no address, nobody answers there, there is no worker, or
            one has another version of Python, Rectifier or torch, or another script.
    """
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        raise NothingToCompare(f"--scheduler needs Dask. Install it with: {INSTALL}") from None
    _check_address(scheduler, distributed)
    try:
        client = distributed.Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise NothingToCompare(
            f"no Dask scheduler answers at {scheduler} ({error}). Start one with `dask scheduler`, workers with "
            f"`dask worker {scheduler} --nthreads 1`, and give the address that it prints."
        ) from error
    with client:
        launcher = ClusterLauncher(client, scheduler, question, timeout)
        launcher.refuse_other_code()
        yield launcher


def _check_address(scheduler: str, distributed: Any) -> None:
    """Refuse what no client can connect to: Dask leaves one that fails at once behind, and it complains at the end."""
    try:
        parts = urlsplit(scheduler)
        well_formed = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port and not parts.path
    except ValueError:
        well_formed = False
    if not well_formed:
        raise NothingToCompare(
            f"{scheduler!r} is no address of a scheduler, for example tcp://head:8786. Start one with `dask "
            "scheduler`, and give the address that it prints."
        )
    if parts.scheme == "tls" and distributed.Security().get_connection_args("client").get("ssl_context") is None:
        raise NothingToCompare(
            f"{scheduler} needs certificates. Name them in Dask's configuration, under distributed.comm.tls, here and "
            "for the scheduler and its workers."
        )


class ClusterLauncher:
    """Runs trials on a cluster; `connect` makes one.

    A training whose worker dies is started again on another one, by Dask, at most as often as its setting
    `distributed.scheduler.allowed-failures` says (3 by default).
    """

    def __init__(self, client: Any, scheduler: str, question: Question, timeout: float | None) -> None:
        self._client = client
        self._scheduler = scheduler
        self._command = question.command
        self._directory = Path.cwd()
        self._code = code_here(question.command, self._directory)
        self._timeout = timeout
        self._comparison = uuid.uuid4().hex
        self._running: set[Any] = set()
        self._lock = threading.Lock()
        self._stopped = False

    @property
    def slots(self) -> int:
        """How many trainings the workers that are there now run at a time: one for each thread of theirs."""
        return sum(self._client.nthreads().values())

    def refuse_other_code(self) -> None:
        """Look at every worker that is there now.

        Raises:
            NothingToCompare: There is none, or one has other code than this process; the text says which.
        """
        # Asked first, and by a function that everybody has: the next question needs Rectifier to be understood.
        for address, found in self._client.run(version, "rectifier", on_error="return").items():
            if found != self._code.rectifier:
                has = "no Rectifier" if isinstance(found, PackageNotFoundError) else f"Rectifier {found}"
                raise NothingToCompare(refused_code(address, has, f"version {self._code.rectifier}"))
        found = self._client.run(code_here, self._command, self._directory, on_error="return")
        if not found:
            raise NothingToCompare(
                f"the scheduler at {self._scheduler} has no worker yet. Start some: "
                f"dask worker {self._scheduler} --nthreads 1"
            )
        for address, code in found.items():
            if isinstance(code, Exception):
                raise NothingToCompare(f"the worker {address} cannot train: {code}") from code
            refuse(self._code, code, address, self._command)

    def __call__(self, spec: TrialSpec, question: Question, folder: Path) -> Trial:
        """Run a script once on some worker, and write down what it returns; see `ScriptLauncher`.

        `{trial_dir}` is a folder on the worker's machine, which is removed as the training has ended.

        Raises:
            NothingToCompare: The worker has other code, or the training cannot be run on this cluster.
        """
        # The folder's files are not here, but there.
        begin_record(spec, spec.arguments(Path("{trial_dir}")), folder)
        future = self._client.submit(
            train_here,
            spec,
            question,
            folder.name,
            self._code,
            self._directory,
            self._timeout,
            began(folder.parent),
            self._comparison,
            key=f"{folder.name}-{uuid.uuid4().hex}",
            pure=False,
        )
        self._enter(future)
        try:
            returned: Returned = future.result()
        except RectifierError:
            raise
        except Exception as error:
            raise NothingToCompare(self._told(error, spec)) from error
        finally:
            with self._lock:
                self._running.discard(future)
            future.release()
        for name, content in returned.files.items():
            (folder / name).write_bytes(content)
        return returned.trial

    def stop(self) -> None:
        """End all trainings that are running, and those that wait for a worker."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        # A scheduler that has gone away cannot be told; its workers end with it.
        with contextlib.suppress(Exception):
            self._client.cancel(running)
            self._client.run(stop_here, self._comparison, on_error="return")

    def _enter(self, future: Any) -> None:
        with self._lock:
            self._running.add(future)
            stopped = self._stopped
        if stopped:
            future.cancel()

    def _told(self, error: Exception, spec: TrialSpec) -> str:
        name = f"{spec.arm}, seed {spec.seed}"
        if type(error).__name__ == "KilledWorker":
            return (
                f"every worker that trained {name} died; the last of them: {error} Their logs say why; memory is the "
                "usual reason. What had ended is kept, the same command goes on from there."
            )
        return (
            f"{name} could not be run on {self._scheduler} ({type(error).__name__}: {error}). What had ended is kept, "
            "the same command goes on from there."
        )


# On a worker's machine. -----------------------------------------------------------------------------------------
