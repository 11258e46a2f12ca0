"""Shared by all tests: how hypothesis draws, and a server that runs commands in processes of their own.

Property tests draw the same examples every time, so that a change is judged by what it changes; to look for more,
`HYPOTHESIS_PROFILE=explore make test`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from forked_command import CommandServer, Finished

os.environ["TENFOLD_CACHE"] = tempfile.mkdtemp(prefix="tenfold-tests-")  # what a machine knows is not for tests

hypothesis.settings.register_profile("steady", derandomize=True)
hypothesis.settings.register_profile("explore", max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


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
