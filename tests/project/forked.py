"""Programs in Python, as processes forked from one that has imported their libraries.

An import of dbt takes seconds, and the tests run dbt some thirty times. As a command, in the
environment of the programs, this module needs the standard library alone; each line on stdin
names a program, and each line on stdout is an exit code.

    python -I forked.py MODULE...
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import tempfile
from pathlib import Path

FILES = ("stdin", "stdout", "stderr")


def main() -> None:
    """Import the modules; run a program for each line, in a process of its own."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if not child:
            _become(*json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(command: list[str], folder: str, files: str, environ: dict[str, str]) -> None:
    """Be a program.

    Args:
        command: The path of its source, and its arguments.
        folder: Where it runs.
        files: A folder with its stdin, stdout and stderr.
        environ: All of its environment variables.
    """
    for number, name in enumerate(FILES):
        os.dup2(os.open(Path(files, name), os.O_RDWR | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    further = environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path(command[0]).parent), *filter(None, further)]
    tempfile.tempdir = None
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    main()
