"""``python -m tap_barchart_events``, and the command ``tap-barchart-events``."""

import os
import signal
import sys


def main() -> None:
    """Run the command line."""
    if sys.stderr is None:
        # stderr was closed. Otherwise the next file opened would get its number and the log lines.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")
    # The import takes half a second. Ctrl-C must show no traceback before handlers are set.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tap_barchart_events.settings import PREFIX
    from tap_barchart_events.tap import TapBarchartEvents

    names = (f"{PREFIX}LOGLEVEL", "LOGLEVEL", "SINGER_SDK_LOG_CONFIG")
    for name in names:
        if not os.environ.get(name):  # an empty one counts as unset
            os.environ.pop(name, None)
    try:
        command = TapBarchartEvents.cli  # it configures the log
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        raise SystemExit(f"could not configure the log: {why}; check {', '.join(names)}") from error
    command()


if __name__ == "__main__":
    main()
