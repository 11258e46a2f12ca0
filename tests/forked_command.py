"""The command line in processes of its own: real exit codes, streams and signals, without seconds of imports each.

A server imports tenfold once and forks a process for each command. It never trains itself, so that there are no
threads a fork could lose.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Mishap = tuple[Any, ...]  # the name of a function in `mishaps`, and its arguments


@dataclass(frozen=True)
class Finished:
    """A command that has ended.

    Attributes:
        code: its exit code; -9 when it was killed.
        out: its standard output.
        err: its standard error.
    """

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """The JSON on the last line of standard output."""
        return json.loads(self.out.splitlines()[-1])


@dataclass(frozen=True)
class Running:
    """A command on its way."""

    server: CommandServer
    pid: int
    streams: Path

    def wait(self, timeout_s: float = 60.0) -> Finished:
        """Its end; after the timeout it is killed."""
        code = self.server.ask(do="wait", pid=self.pid, timeout_s=timeout_s)["code"]
        out, err = (self.streams.with_suffix(s).read_text("utf-8", "replace") for s in (".out", ".err"))
        return Finished(code, out, err)

    def send(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)


class CommandServer:
    """Runs `tenfold ...`, many times.

    Args:
        folder: where the commands' output goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        own = os.pathsep.join(map(str, Path(__file__).parents[:2]))  # this checkout, whatever is installed
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": own}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[1],
        )

    def start(self, *arguments: Any, cwd: Path, mishaps: Sequence[Mishap] = (), **environment: str) -> Running:
        """Starts a command in a directory, under mishaps and further environment variables."""
        self._count += 1
        streams = self.folder / str(self._count)
        reply = self.ask(
            do="start",
            arguments=[str(argument) for argument in arguments],
            cwd=str(cwd),
            streams=str(streams),
            mishaps=[list(mishap) for mishap in mishaps],
            environment=environment,
        )
        return Running(self, reply["pid"], streams)

    def run(self, *arguments: Any, cwd: Path, mishaps: Sequence[Mishap] = (), **environment: str) -> Finished:
        """Runs a command to its end."""
        return self.start(*arguments, cwd=cwd, mishaps=mishaps, **environment).wait()

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the server."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()


def _serve() -> None:
    for name in ("tenfold.cli", "alembic.command", "alembic.context", "pyarrow", "torch.utils.tensorboard.writer"):
        importlib.import_module(name)  # here, so that no command has to
    import optuna

    optuna.storages.RDBStorage("sqlite://")  # loads its database's dialect
    for line in sys.stdin:
        request = json.loads(line)
        reply = {"pid": _start(request)} if request["do"] == "start" else {"code": _wait(**request)}
        print(json.dumps(reply), flush=True)


def _start(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = _command(request)
        finally:
            os._exit(code)
    return pid


def _wait(pid: int, timeout_s: float, **_: Any) -> int:
    end = time.monotonic() + timeout_s
    while (found := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(found[1])


def _command(request: dict[str, Any]) -> int:
    # a test run that was started in the background has Ctrl-C ignored, and its children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from tenfold.cli import main

    os.setpgid(0, 0)
    for number, target in ((0, os.devnull), (1, request["streams"] + ".out"), (2, request["streams"] + ".err")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(target, flags, 0o666), number)
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    sys.argv = ["tenfold", *request["arguments"]]
    try:
        import mishaps

        for name, *arguments in request["mishaps"]:
            getattr(mishaps, name)(*arguments)
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    _serve()
