"""The real command, but for the pauses before new jobs.

They are long enough to outlive an outage of several minutes, for which no test waits.
"""

from tap_barchart_events.exports.jobs import JobPolicy

QUICK = JobPolicy(
    waits=(0.05, 0.1, 0.2), forgotten_grace=0, forgotten_timeout=60, job_seconds_max=5
)
"""The policy of these tests."""

if __name__ == "__main__":
    from tap_barchart_events.__main__ import main
    from tap_barchart_events.streams import EventsStream

    EventsStream.policy = QUICK
    main()
