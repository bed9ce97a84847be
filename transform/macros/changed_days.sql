{# The days of products that a model builds: all of them at first, and then those whose events are not
   those that the model holds.

   This is the whole incremental rule. Events come late, windows are read again, and shards may load
   an old month last, so neither an event's time nor that of its window says what is new; and rows
   from BATCH files do not say when they were loaded. But an event never changes, so a day holds the
   same events as before if it holds as many of them, and the sum over their ids is the same.

   `counted` is the column of int_barchart__days with the number of events that the model counts. #}
{% macro changed_days(counted) %}
    {%- if is_incremental() %}
    {{- differing_days(this, counted) }}
    {%- else %}
    select customer, product, day
    from {{ ref('int_barchart__days') }}
    {%- endif %}
{% endmacro %}


{# The days on which a relation does not hold the events that int_barchart__days counts. #}
{% macro differing_days(relation, counted) %}
    select
        coalesce(days.customer, built.customer) as customer,
        coalesce(days.product, built.product) as product,
        coalesce(days.day, built.day) as day,
        coalesce(days.{{ counted }}, 0) as counted,
        coalesce(built.events, 0) as built
    from {{ ref('int_barchart__days') }} as days
    full outer join (
        select customer, product, day, sum(events) as events, sum(checksum) as checksum
        from {{ relation }}
        group by customer, product, day
    ) as built
        on built.customer = days.customer
        and built.product = days.product
        and built.day = days.day
    where coalesce(days.{{ counted }}, 0) <> coalesce(built.events, 0)
        or coalesce(days.{{ counted }}_checksum, 0) <> coalesce(built.checksum, 0)
{% endmacro %}


{# The staged events of the changed days. A day that was loaded since the days were counted waits for
   the next build. The bounds are of instants, so that a database with an index of them, or files in
   their order, reads no more of the table. #}
{% macro changed_events() %}
    select events.*
    from {{ ref('stg_barchart__events') }} as events
    inner join changed_days
        on changed_days.customer = events.customer
        and changed_days.product = events.product
        and changed_days.day = events.day
    {%- if is_incremental() %}
    where events.occurred_at >= (
            select cast(min(day) as {{ plain_timestamp() }}) from changed_days
        )
        and events.occurred_at < (
            select cast({{ days_after('max(day)', 1) }} as {{ plain_timestamp() }}) from changed_days
        )
    {%- endif %}
{% endmacro %}


{# Remove the days that have no events any more from an incremental model, which itself only replaces
   days by what they hold now. #}
{% macro remove_days(counted) %}
    {%- if is_incremental() %}
    delete from {{ this }} as built
    where not exists (
        select 1
        from {{ ref('int_barchart__days') }} as days
        where days.customer = built.customer
            and days.product = built.product
            and days.day = built.day
            and days.{{ counted }} > 0
    )
    {%- endif %}
{% endmacro %}
