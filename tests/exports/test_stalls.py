"""Scenes in which a sync could wait for ever, or use a job of an earlier run wrongly."""

import math

import pytest

from tap_barchart_events import exceptions as errors
from tap_barchart_events.api.client import Job
from tap_barchart_events.exports.jobs import Export, JobPolicy, Outcome, Scheduler, State
from tap_barchart_events.exports.saved_jobs import SavedJob
from tap_barchart_events.windows import Window
from tests.exports.conftest import HOUR, checked_file, scheduler_of, too_many_jobs


def scheduler(spans: dict[str, Window], saved: dict[str, int], jobs: int) -> Scheduler:
    """Return a scheduler that resumes jobs of an hour each, from the epoch on."""
    made = scheduler_of(spans, JobPolicy(jobs), largest=24 * HOUR)
    for product, count in saved.items():
        for n in range(count):
            made.resume(product, saved_job(f"{product}{n}", n))
    return made


def saved_job(source: str, hour: int, hours: int = 1) -> SavedJob:
    return SavedJob(source, Window(hour * HOUR, (hour + hours) * HOUR), 90, "x")


def due(made: Scheduler, now: float) -> Export:
    """Return the window whose call is to be made now."""
    export = made.next_call(now)
    assert export
    return export


def read_all(
    made: Scheduler,
    product: str,
    raised: dict[State, Exception] | None = None,
    until: float = math.inf,
) -> Exception | None:
    """Read a product to its end, on a simulated clock; return why it failed, if it did."""
    now = 100.0
    made.set_current(product)
    for _ in range(20_000):
        if made.is_at_end(product):
            return None
        following = made.following(product)
        if following and following.state is State.FAILED:
            return following.error
        if following and following.file:
            made.emitted(following)
        elif export := made.next_call(now):
            made.finished(export, answer(export, raised or {}), now)
        else:
            now = made.next_change(now)
            assert now < until, "nothing happens until then"
    raise AssertionError("it does not end")


def answer(export: Export, raised: dict[State, Exception]) -> Outcome:
    if export.state in raised:
        return raised[export.state]
    if export.state is State.STARTING:
        return Job(f"new-{export.window.start}", "RUNNING", None)
    if export.state is State.POLLING:
        assert export.job
        return Job(export.job.source, "COMPLETE", None)
    return 1 if export.state is State.DOWNLOADING else checked_file({})


@pytest.mark.parametrize(
    ("spans", "saved", "jobs"),
    [
        ({"A": Window(0, HOUR), "B": Window(0, 20 * HOUR)}, {"B": 16}, 4),
        ({"A": Window(-HOUR, 20 * HOUR)}, {"A": 4}, 1),
        ({product: Window(-HOUR, 20 * HOUR) for product in "ABC"}, {"B": 4, "C": 4}, 1),
    ],
)
def test_jobs_of_an_earlier_run_never_keep_the_next_window_from_starting(
    spans: dict[str, Window], saved: dict[str, int], jobs: int
) -> None:
    assert read_all(scheduler(spans, saved, jobs), "A") is None


def test_no_more_jobs_are_resumed_than_windows_may_be_issued() -> None:
    made = scheduler({"A": Window(0, 9 * HOUR)}, {"A": 4}, 1)

    assert not made.resume("A", saved_job("one-more", 4))

    assert read_all(made, "A") is None


def test_of_two_jobs_that_overlap_one_is_used() -> None:
    made = scheduler({"A": Window(0, 9 * HOUR)}, {"A": 2}, 1)

    assert not made.resume("A", saved_job("over-both", 0, 2))

    assert [job.source for job in made.jobs("A")] == ["A0", "A1"]


def test_a_job_whose_name_is_too_long_for_state_is_not_kept() -> None:
    made = scheduler({"A": Window(0, 2 * HOUR)}, {}, 1)

    assert all(made.resume("A", saved_job("x" * (64 + hour), hour)) for hour in range(2))

    assert [len(job.source) for job in made.jobs("A")] == [64]


def test_a_job_whose_window_ends_after_the_end_of_the_sync_is_dropped() -> None:
    made = scheduler({"A": Window(0, 2 * HOUR)}, {"A": 2}, 1)

    made.end_at(HOUR + 1)

    assert [job.source for job in made.jobs("A")] == ["A0"]
    assert read_all(made, "A") is None
    assert (made.job_counts["A"]["started"], made.job_counts["A"]["resumed"]) == (1, 1)


@pytest.mark.parametrize(
    ("state", "why"),
    [(State.POLLING, "job_timeout_minutes"), (State.DOWNLOADING, "gave up after 4 tries")],
)
def test_a_job_that_is_never_ready_ends(state: State, why: str) -> None:
    made = scheduler({"A": Window(0, 1000)}, {}, 1)

    error = read_all(made, "A", {state: errors.JobNotReadyError("running")})

    assert why in str(error)


def test_a_job_that_other_credentials_started_is_started_anew() -> None:
    made = scheduler({"A": Window(0, HOUR)}, {"A": 1}, 1)
    made.set_current("A")
    export = due(made, 100.0)
    made.finished(export, errors.CredentialsError("403"), 100.0)

    assert read_all(made, "A") is None


def test_a_job_whose_file_cannot_be_used_is_started_anew_and_not_kept() -> None:
    made = scheduler({"A": Window(0, HOUR)}, {"A": 1}, 1)
    error = errors.FileError("inflates without end")

    assert read_all(made, "A", {State.DOWNLOADING: error}) is error

    assert made.jobs("A") == []
    assert made.job_counts["A"]["started"] == 1


def test_pauses_between_polls_grow_to_fifteen_intervals() -> None:
    made = scheduler({"A": Window(0, HOUR)}, {}, jobs=1)
    now, pauses = 100.0, []
    while now < 600:
        export = due(made, now)
        made.finished(export, Job("J", "RUNNING", None), now)
        pauses.append(made.next_change(now) - now)
        now += pauses[-1]
    assert 0.5 <= pauses[0] <= 2
    assert max(pauses) == pytest.approx(30)
    assert pauses[-1] == pytest.approx(30)


def test_where_jobs_are_quick_a_poll_follows_after_a_tenth_of_an_interval_at_least() -> None:
    made = scheduler({"A": Window(0, 48 * HOUR)}, {}, jobs=1)
    made.finished(due(made, 100.0), Job("J", "COMPLETE", 0.001), 100.001)
    made.finished(due(made, 100.001), 1, 100.001)
    made.finished(due(made, 100.001), checked_file({}), 100.001)
    now, pauses = 100.001, list[float]()
    while len(pauses) < 5:
        export = due(made, now)
        made.finished(export, Job("K", "RUNNING", None), now)
        pauses.append(export.due - now)
        now = export.due
    assert min(pauses) == pytest.approx(0.2)


def test_a_start_that_is_rejected_and_then_not_answered_is_sent_again() -> None:
    made = scheduler({"A": Window(0, HOUR)}, {}, jobs=1)
    now = 10_000.0
    for error in (errors.StartRejectedError("a code"), errors.TransientError("502")):
        export = due(made, now)
        made.finished(export, error, now)
        now = made.next_change(now)
        assert export.state is State.WAITING, export.error


def test_a_start_that_is_rejected_keeps_no_other_window_waiting() -> None:
    made = scheduler({"A": Window(0, 48 * HOUR)}, {}, jobs=2)
    first = due(made, 100.0)
    made.finished(first, errors.StartRejectedError("a code"), 100.0)
    second = due(made, 100.0)
    assert second.window.start == first.window.end
    assert made.next_change(100.0) == first.due > 100


def test_jobs_of_another_export_end_a_sync_within_minutes() -> None:
    made = scheduler({"A": Window(0, 8 * HOUR)}, {}, jobs=1)
    mismatch = errors.JobFailedError("another export")
    error = read_all(made, "A", {State.POLLING: mismatch}, until=600.0)
    assert "gave up after 4 tries" in str(error)


@pytest.mark.parametrize("pause", [601, 3600])
def test_a_refusal_while_a_job_runs_is_waited_for_up_to_an_hour(pause: float) -> None:
    made = scheduler({"A": Window(0, 480 * HOUR)}, {}, jobs=4)
    first, second, third = (due(made, 100.0) for _ in range(3))
    made.finished(first, Job("J", "RUNNING", None), 100.0)
    for export in (second, third):  # the third one is refused during the pause
        made.finished(export, too_many_jobs(pause), 101.0)
        assert export.state is State.WAITING, export.error
    made.finished(due(made, 103.0), Job("J", "COMPLETE", None), 103.0)
    made.finished(due(made, 103.0), 1, 103.0)
    made.finished(due(made, 103.0), checked_file({}), 103.0)
    assert f"no new job starts for {pause:.0f} s (Retry-After)" in str(made.lines)
    assert made.next_call(100.0 + pause) is None
    assert due(made, 101.0 + pause) is second


def test_a_final_refusal_of_more_than_an_hour_ends_the_sync_and_is_kept_to() -> None:
    made = scheduler({"A": Window(0, HOUR), "B": Window(0, HOUR)}, {}, jobs=2)
    first, second = due(made, 100.0), due(made, 100.0)
    made.finished(first, Job("J", "RUNNING", None), 100.5)
    made.finished(second, too_many_jobs(3601), 101.0)
    assert second.state is State.FAILED
    assert "the next one would be due in 3601 s" in str(second.error)
    assert made.ending is second.error
    assert due(made, 110.0) is first
    made.finished(first, Job("J", "FAILED", None), 110.0)
    assert made.next_call(3702.0) is None


def test_starts_that_are_rejected_do_not_count_against_jobs_that_failed() -> None:
    made = scheduler({"A": Window(0, HOUR)}, {}, jobs=1)
    failed, rejected = Job("J", "FAILED", None), errors.StartRejectedError("a code")
    now = 100.0
    for outcome in (failed, rejected, failed, rejected, rejected, failed, rejected):
        export = due(made, now)
        made.finished(export, outcome, now)
        assert export.state is State.WAITING, export.error
        now = export.due
    made.finished(due(made, now), failed, now)
    assert "gave up after 4 tries" in str(export.error)


def test_new_jobs_replace_forgotten_ones_for_an_hour_from_the_first_of_these_on() -> None:
    made = scheduler({"A": Window(0, HOUR)}, {}, jobs=1)
    export = due(made, 100.0)
    made.finished(export, Job("J", "RUNNING", None), 100.0)
    made.finished(due(made, 1000.0), Job("J", "FAILED", None), 1000.0)
    for now in (3600.0, 5000.0):
        made.finished(due(made, now), Job("J", "RUNNING", None), now)
        made.finished(due(made, now + 100), errors.JobForgottenError("J"), now + 100)
        assert export.state is State.WAITING, export.error
    made.finished(due(made, 7200.0), errors.JobForgottenError("J"), 7200.0)
    assert export.state is State.FAILED


def test_the_files_of_a_first_round_come_before_windows_of_a_guessed_size() -> None:
    made = scheduler({"A": Window(0, 96 * HOUR)}, {}, jobs=2)
    first, second = due(made, 100.0), due(made, 100.0)
    for export in (first, second):
        made.finished(export, Job(f"J{export.window.start}", "RUNNING", None), 100.0)
    now = made.next_change(100.0)
    polled = due(made, now)
    made.finished(polled, Job(f"J{polled.window.start}", "COMPLETE", None), now)

    other, file = due(made, now), due(made, now)

    assert {other.state, file.state} == {State.POLLING, State.DOWNLOADING}
    assert made.next_call(now) is None, "no job starts yet"
    made.finished(file, 1, now + 1)
    made.finished(due(made, now + 1), checked_file({0: 100}), now + 1)
    assert due(made, now + 1).state is State.STARTING


@pytest.mark.parametrize("downloaded", [False, True])
def test_a_file_behind_a_failed_window_keeps_no_part_of_an_earlier_one_waiting(
    *, downloaded: bool
) -> None:
    """The second window fails; then the first one is too large, and the file of the third stays."""
    made = scheduler_of({"A": Window(0, 96 * HOUR)}, JobPolicy(3), largest=48 * HOUR)
    first, second, third = (due(made, 100.0) for _ in range(3))
    for export in (first, second, third):
        made.finished(export, Job(f"J{export.window.start}", "RUNNING", None), 100.0)
    now = 100.0
    while not (called := made.next_call(now)) or called.state is not State.STARTING:
        if not called:
            now = made.next_change(now)
            assert now < math.inf, "nothing will ever happen"
        elif called.state is State.POLLING:
            assert called.job
            may_end = second.state is State.FAILED or called is second
            status = "TIMEOUT" if called is first else "COMPLETE"
            is_over = may_end or (downloaded and called is third)
            status = status if is_over else "RUNNING"
            made.finished(called, Job(called.job.source, status, None), now)
        elif called.state is State.DOWNLOADING:
            made.finished(called, 1, now)
        else:
            assert called is second
            made.finished(called, errors.FileError("a bad row"), now)
    assert called.window.start == 0


def test_files_are_checked_one_at_a_time_as_they_will_be_read_while_others_are_downloaded() -> None:
    made = scheduler({"A": Window(0, 96 * HOUR)}, {"A": 3}, jobs=3)
    exports = [due(made, 100.0) for _ in range(3)]
    for export in reversed(exports):
        assert export.job
        made.finished(export, Job(export.job.source, "COMPLETE", None), 100.0)
    assert [due(made, 100.0) for _ in range(3)] == exports
    for export in exports[::-1]:
        made.finished(export, 1, 101.0)
    assert due(made, 101.0) is exports[0]
    assert made.next_call(101.0) is None
    made.finished(exports[0], checked_file({0: 100}), 102.0)
    assert due(made, 102.0) is exports[1]


def test_of_a_first_round_the_smaller_files_hold_no_window_up() -> None:
    made = scheduler_of({"A": Window(0, 96 * HOUR)}, JobPolicy(2), largest=48 * HOUR)
    large, small = due(made, 100.0), due(made, 100.0)
    for export in (large, small):
        made.finished(export, Job(f"J{export.window.start}", "COMPLETE", None), 100.0)
    for _ in range(2):
        made.finished(due(made, 100.0), 1, 101.0)
    made.finished(due(made, 101.0), checked_file({0: 100}), 102.0)
    assert large.state is State.READY
    assert (due(made, 102.0), due(made, 102.0).state) == (small, State.STARTING)
