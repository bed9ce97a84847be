"""How many jobs may be in flight: the setting, what the service accepts, and what still runs."""

from __future__ import annotations

import math

from tap_barchart_events.exports.budget import JobBudget


def start_and_accept(budget: JobBudget, jobs: int, now: float = 0) -> None:
    for _ in range(jobs):
        assert budget.may_start(now)
        budget.start()
        budget.accepted(0)


def end(budget: JobBudget, jobs: int) -> None:
    for _ in range(jobs):
        budget.ended()


def refuse_one(budget: JobBudget, now: float = 0) -> None:
    assert budget.may_start(now)
    budget.start()
    budget.refused(now)


def test_no_more_jobs_start_than_were_set() -> None:
    budget = JobBudget(3)
    start_and_accept(budget, 3)
    assert not budget.may_start(0)
    end(budget, 1)
    assert budget.may_start(0)


def test_a_refusal_lowers_the_limit_to_the_jobs_in_flight() -> None:
    budget = JobBudget(8)
    start_and_accept(budget, 2)
    refuse_one(budget)
    assert budget.limit == 2
    assert not budget.may_start(0)


def test_four_starts_at_once_find_a_limit_of_one() -> None:
    budget = JobBudget(4)
    for _ in range(4):
        budget.start()
    budget.refused(0)
    budget.refused(0)
    budget.accepted(0)
    budget.refused(0)
    assert budget.limit == 1
    assert budget.limit_to_report() == 1
    assert budget.limit_to_report() is None, "reported once"


def test_the_limit_is_not_reported_while_starts_have_no_response() -> None:
    budget = JobBudget(4)
    for _ in range(4):
        budget.start()
    budget.refused(0)
    assert budget.limit_to_report() is None


def test_no_job_starts_before_retry_after_has_passed() -> None:
    budget = JobBudget(4)
    start_and_accept(budget, 1)
    refuse_one(budget)
    assert budget.pause(30, now=0) == 30
    end(budget, 1)
    assert not budget.may_start(29.9)
    assert budget.next_change(0) == 30
    assert budget.may_start(30)


def test_one_more_job_is_tried_after_a_round_and_then_ever_more_rarely() -> None:
    budget = JobBudget(4)
    start_and_accept(budget, 1)
    refuse_one(budget)
    waited = []
    for _ in range(6):
        jobs = 0
        while not budget.may_start(0):
            end(budget, 1)
            start_and_accept(budget, 1)
            jobs += 1
        refuse_one(budget)
        waited.append(jobs)
    assert waited == [1, 2, 4, 8, 16, 16]
    assert budget.limit == 1


def test_the_limit_rises_by_one_after_as_many_jobs_as_it_is() -> None:
    budget = JobBudget(4)
    start_and_accept(budget, 1)
    refuse_one(budget)
    waited = []
    for running in range(1, 4):
        jobs = 0
        while not budget.may_start(0):
            end(budget, 1)
            if not budget.may_start(0) or budget.in_flight(0) < running:
                start_and_accept(budget, 1)
            jobs += 1
        start_and_accept(budget, budget.limit - budget.in_flight(0))
        waited.append(jobs)
    assert waited == [1, 2, 3]
    assert budget.limit == 4


def test_only_one_job_more_than_accepted_is_tried_at_once() -> None:
    budget = JobBudget(4)
    start_and_accept(budget, 1)
    refuse_one(budget)
    end(budget, 1)
    start_and_accept(budget, 1)
    budget.start()
    assert not budget.may_start(0)


def test_a_job_that_was_given_up_counts_until_it_surely_has_ended() -> None:
    budget = JobBudget(1)
    start_and_accept(budget, 1)
    budget.give_up(60, 900)
    assert not budget.may_start(899)
    assert budget.next_change(60) == 900
    assert budget.may_start(900)
    assert budget.next_change(900) == math.inf


def test_a_limit_of_at_least_one_is_left_when_all_starts_are_refused() -> None:
    budget = JobBudget(2)
    budget.start()
    budget.start()
    budget.refused(0)
    budget.refused(0)
    assert budget.limit == 1
    assert budget.in_flight(0) == 0
    assert budget.may_start(0)
