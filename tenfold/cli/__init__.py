"""The command line: words become calls, answers become text. Nothing is decided here.

What a person reads goes to stderr while the work goes on, and the answer to stdout; with `--json` stdout holds one
JSON object alone, as its last line. Exit code 0: done; 2: the command or the data cannot be used; 130: interrupted.

Commands register with the application as their files are imported, in the order of `--help`.
"""

from tenfold.cli import curves, finding, fitting, grids, inspecting, runs, searching, stock
from tenfold.cli.app import app, main

__all__ = ["app", "curves", "finding", "fitting", "grids", "inspecting", "main", "runs", "searching", "stock"]
