"""Shared by tests of the command line: one server that runs commands in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forked_command import CommandServer, Finished


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandServer]:
    server = CommandServer(tmp_path_factory.mktemp("streams"))
    yield server
    server.close()


@pytest.fixture
def tenfold(commands: CommandServer, tmp_path: Path) -> Callable[..., Finished]:
    """Runs `tenfold ...` in the test's own directory."""

    def run(*arguments: Any, cwd: Path | None = None, **settings: Any) -> Finished:
        return commands.run(*arguments, cwd=cwd or tmp_path, **settings)

    return run
