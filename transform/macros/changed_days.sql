{# The days of products that an incremental model builds: all of them at first, and then those whose
   number of events is not the one that the model holds.

   This is the whole incremental rule. Events come late, windows are read again, and shards may load
   an old month last, so neither an event's time nor that of its window says what is new; and rows
   from BATCH files do not say when they were loaded. But an event never changes and never goes, so
   a day has new events if and only if it has more events than before.

   `counted` is the column of int_barchart__days with the number of events that the model counts. #}
{% macro changed_days(counted) %}
    select days.customer, days.product, days.day
    from {{ ref('int_barchart__days') }} as days
    {%- if is_incremental() %}
    left join (
        select customer, product, day, sum(events) as events
        from {{ this }}
        group by customer, product, day
    ) as built
        on built.customer = days.customer
        and built.product = days.product
        and built.day = days.day
    where coalesce(built.events, 0) <> days.{{ counted }}
    {%- endif %}
{% endmacro %}


{# The staged events of the changed days. The bounds spare a database the rest of the table where it
   can find events by their time. #}
{% macro changed_events(counted) %}
    select events.*
    from {{ ref('stg_barchart__events') }} as events
    {%- if is_incremental() %}
    inner join changed_days
        on changed_days.customer = events.customer
        and changed_days.product = events.product
        and changed_days.day = events.day
    where events.day >= (select min(day) from changed_days)
        and events.day <= (select max(day) from changed_days)
    {%- endif %}
{% endmacro %}
