{# Days of which a model does not hold the number of events that int_barchart__days counts. #}
{% macro each_day_has_its_events(model, counted) %}
    select days.customer, days.product, days.day, days.{{ counted }}, coalesce(built.events, 0) as built
    from {{ ref('int_barchart__days') }} as days
    left join (
        select customer, product, day, sum(events) as events
        from {{ model }}
        group by customer, product, day
    ) as built
        on built.customer = days.customer
        and built.product = days.product
        and built.day = days.day
    where coalesce(built.events, 0) <> days.{{ counted }}
{% endmacro %}
