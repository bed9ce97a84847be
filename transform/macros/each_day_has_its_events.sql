{# Days of which a model does not hold the events that int_barchart__days counts, although it could:
   a load that goes on while the models are built brings more of them, at most those of the table.

   `column` is the one that all events have that the model counts. #}
{% macro each_day_has_its_events(model, counted, column) %}
    with differing as (
        {{- differing_days(model, counted) }}
    ),

    loaded as (
        select events.customer, events.product, events.day, count(events.{{ column }}) as events
        from {{ ref('stg_barchart__events') }} as events
        inner join differing
            on differing.customer = events.customer
            and differing.product = events.product
            and differing.day = events.day
        group by events.customer, events.product, events.day
    )

    select differing.*, coalesce(loaded.events, 0) as loaded
    from differing
    left join loaded
        on loaded.customer = differing.customer
        and loaded.product = differing.product
        and loaded.day = differing.day
    where differing.built <= differing.counted
        or differing.built > coalesce(loaded.events, 0)
{% endmacro %}
