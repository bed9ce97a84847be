"""Starts one command, waits for it, and writes what it took: as JSON, to a given descriptor.

A process of its own, because a child's peak memory begins at that of the process that forked it.
Run as ``python -I -S launch.py DESCRIPTOR COMMAND...``; imports little, so that it stays small.
"""

import os
import sys
import time


def main() -> None:
    """Start the command and wait for it."""
    descriptor, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only argument
    began = time.monotonic()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    wall = time.monotonic() - began
    cpu = usage.ru_utime + usage.ru_stime
    code = os.waitstatus_to_exitcode(status)
    report = f"[{code}, {cpu!r}, {wall!r}, {usage.ru_maxrss * 1024}, {began!r}]"
    os.write(descriptor, report.encode())


if __name__ == "__main__":
    main()
