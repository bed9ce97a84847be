"""``python -m tap_barchart_events``, and the command ``tap-barchart-events``."""

import signal


def main() -> None:
    """Run the command line."""
    # Importing takes half a second. Until handlers are there, Ctrl-C ends this quietly, too.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tap_barchart_events.tap import TapBarchartEvents  # noqa: PLC0415

    TapBarchartEvents.cli()


if __name__ == "__main__":
    main()
