"""Kernels that have the imports of a chapter behind them when they begin.

All chapters begin with the same imports, which take longer than many a chapter's own work. Where
processes can be forked safely (Linux), one server does these imports and nothing else, and each
kernel is a fork of it: as fresh as a new process, for nothing was computed before. Elsewhere each
kernel imports for itself, and so does the first one everywhere, unless many are to come (`expect`):
a page or two that import little are made sooner than a server has begun.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

from signseg_utils.publishing.execution import end_with_parent

# What chapters import, directly or not, and the kernel itself; not what asks for a running kernel
# when it is imported, as matplotlib's inline backend does.
IMPORTED = (
    "ipykernel.kernelapp",
    "scipy.stats",
    "statsmodels.stats.multitest",
    "signseg_utils.plots",
    "signseg_utils.chapter",
    "signseg_utils.analysis.images",
    "signseg_utils.experiments.sweep",
    "signseg_utils.experiments.recorded.base",
)
MANY = 4  # kernels of a process

_begun = count()  # kernels of this process


def expect(pages: int) -> None:
    """Say how many kernels are to begin: of many, the first is a fork, too.

    It would do the imports that the server is to do anyway.
    """
    if pages >= MANY:
        next(_begun)


def safe_to_fork() -> bool:
    """Whether a process that has imported all this may be forked: macOS's frameworks forbid it."""
    return sys.platform == "linux"


class Kernel(AsyncKernelManager):
    """Manager of a kernel that is forked where that is safe.

    It talks over sockets in the file system, not over TCP, where there are such.
    """

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        if sys.platform != "win32":
            self.transport = "ipc"

    async def _async_pre_start_kernel(self, **keywords: Any) -> Any:
        if next(_begun) and safe_to_fork() and self.provisioner is None:
            self.kernel_id = self.kernel_id or keywords.get("kernel_id", "forked")
            self.provisioner = Forked(
                kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
            )
        return await super()._async_pre_start_kernel(**keywords)

    async def _async_interrupt_kernel(self) -> None:
        """Not on the way to its end: an idle kernel calls an interrupt there an error."""
        if not self.shutting_down:
            await super()._async_interrupt_kernel()


class Forked(LocalProvisioner):
    """Starts a kernel by a fork of the server that has done the imports."""

    async def launch_kernel(self, cmd: list[str], **keywords: Any) -> Any:
        launcher = "ipykernel_launcher"
        if launcher not in cmd:  # no Python kernel as IPython has it
            return await super().launch_kernel(cmd, **keywords)
        arguments = cmd[cmd.index(launcher) :]
        self.cwd = keywords.get("cwd") or os.getcwd()
        forked: Any = _Process(arguments, keywords.get("env") or os.environ, self.cwd)
        self.process, self.pid, self.pgid = forked, forked.pid, forked.pid
        return self.connection_info


class _Process:
    """A forked kernel, handled as `LocalProvisioner` handles a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], folder: str) -> None:
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(list(IMPORTED))
        self._forked = server.Process(target=_serve, args=(list(arguments), dict(env), str(folder)))
        # a Ctrl-C of the terminal reaches the server as well, and is not meant for it
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self._forked.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid = self._forked.pid

    def poll(self) -> int | None:
        return self._forked.exitcode

    def wait(self) -> int | None:
        self._forked.join()
        return self._forked.exitcode

    def send_signal(self, number: int) -> None:
        if self.pid and self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._forked.kill()

    def terminate(self) -> None:
        self._forked.terminate()


def _serve(arguments: list[str], env: dict[str, str], folder: str) -> None:
    """Be a kernel: in the forked process, with the environment and folder of a started one."""
    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = arguments
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    threading.Thread(target=end_with_parent, daemon=True).start()

    if "pandas" in sys.modules:  # imported without IPython, it cuts tables to fit a terminal
        sys.modules["pandas"].set_option("display.max_columns", 20)
    from ipykernel import kernelapp

    # its parent is the server; said here, because the environment was read with the imports
    kernelapp.launch_new_instance(argv=arguments[1:], parent_handle=os.getppid())
