"""The definitions that Dagster loads: two assets, a job for each, and the nightly schedule.

They say when and how often a run happens; `shards.py` and `meltano.py` say what a run is.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from dagster import (
    AssetExecutionContext,
    AssetSelection,
    AssetSpec,
    BackfillPolicy,
    Config,
    DefaultScheduleStatus,
    Definitions,
    MaterializeResult,
    MonthlyPartitionsDefinition,
    MultiPartitionKey,
    MultiPartitionsDefinition,
    RetryRequested,
    ScheduleDefinition,
    StaticPartitionsDefinition,
    asset,
    define_asset_job,
    in_process_executor,
    multi_asset,
)
from dotenv import dotenv_values

from orchestrate import meltano
from orchestrate.shards import Run, ShardPlan

DOTENV = dotenv_values(meltano.project(os.environ) / ".env")
ENVIRON = {name: text for name, text in DOTENV.items() if text is not None} | dict(os.environ)
PLAN = ShardPlan.from_environment(ENVIRON)

SHARDS = MultiPartitionsDefinition(
    {
        "month": MonthlyPartitionsDefinition(
            start_date=PLAN.first.isoformat(), end_date=PLAN.handover.isoformat()
        ),
        "product": StaticPartitionsDefinition(PLAN.products),
    }
)

MAX_RETRIES = 3
"""Retries of a failed run, with pauses that double.

Meltano refuses a run with the same STATE for up to five minutes after a crash; the pauses add up
to seven.
"""


class Reading(Config):
    """The options of a run."""

    reread: bool = False
    """Begin at the start in spite of a bookmark."""


@asset(
    partitions_def=SHARDS,
    backfill_policy=BackfillPolicy.multi_run(max_partitions_per_run=1),
    pool="history",
    group_name="events",
)
def events_history(context: AssetExecutionContext, config: Reading) -> MaterializeResult[None]:
    """The events before the handover, a shard for each product and month."""
    key = context.partition_key
    assert isinstance(key, MultiPartitionKey)  # noqa: S101 - the partitions are such
    part = key.keys_by_dimension
    shard = PLAN.shard(part["product"], date.fromisoformat(part["month"]))
    return _materialized(context, shard, reread=config.reread)


@asset(group_name="events")
def events_nightly(context: AssetExecutionContext, config: Reading) -> MaterializeResult[None]:
    """The events from the handover on, all products.

    If the last try fails, the models are built here: Dagster skips what is downstream, and the
    events of other products may be new.
    """
    try:
        return _materialized(context, PLAN.nightly(), reread=config.reread)
    except RetryRequested:
        if PLAN.dbt and context.retry_number == MAX_RETRIES:
            meltano.build(PLAN.dbt, environ=ENVIRON)
        raise


def _materialized(
    context: AssetExecutionContext, run: Run, *, reread: bool
) -> MaterializeResult[None]:
    with _retried(context):
        events = meltano.run(run, loader=PLAN.loader, environ=ENVIRON, reread=reread)
    return MaterializeResult(metadata={"events extracted": events})


@multi_asset(
    specs=[
        AssetSpec(name, deps=[events_history, events_nightly], group_name="models")
        for name in meltano.MODELS
    ]
)
def models(context: AssetExecutionContext) -> Iterator[MaterializeResult[None]]:
    """The models of dbt over all events, built and tested in one step."""
    assert PLAN.dbt  # noqa: S101 - Dagster loads this asset only then
    with _retried(context):
        meltano.build(PLAN.dbt, environ=ENVIRON)
    for name in meltano.MODELS:
        yield MaterializeResult(asset_key=name)


@contextmanager
def _retried(context: AssetExecutionContext) -> Iterator[None]:
    """Ask Dagster to try again, after a pause, if Meltano fails."""
    try:
        yield
    except meltano.MeltanoError as error:
        # Not a RetryPolicy, which would also restart a run that was cancelled.
        pause = PLAN.retry_seconds * 2**context.retry_number
        raise RetryRequested(MAX_RETRIES, seconds_to_wait=pause) from error


BUILT = [models] if PLAN.dbt else []

HISTORY = define_asset_job("history", AssetSelection.assets(events_history))
NIGHTLY = define_asset_job(
    "nightly",
    AssetSelection.assets(events_nightly, *BUILT),
    # It starts before the shards in the queue.
    tags={"dagster/priority": "1"},
)

definitions = Definitions(
    assets=[events_history, events_nightly, *BUILT],
    jobs=[HISTORY, NIGHTLY],
    schedules=[
        ScheduleDefinition(
            job=NIGHTLY,
            cron_schedule="30 2 * * *",
            execution_timezone="UTC",
            default_status=DefaultScheduleStatus.RUNNING,
        )
    ],
    # A run is one process of Meltano; another process around it has no use.
    executor=in_process_executor,
)
