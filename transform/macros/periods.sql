{# A period without events counts as 0 only if it is complete: whether nothing happened or nothing was
   extracted, the table does not show otherwise. #}
{% macro if_known(value) -%}
    case when events > 0 or is_complete then {{ value }} end
{%- endmacro %}


{# The weeks or months of each product, from its days; is_complete as of a day.

   `name` is week or month, `first_day` the macro that returns the first day of a day's period. #}
{% macro periods(name, first_day) %}
    select
        customer,
        product,
        {{ first_day('day') }} as {{ name }},
        max(
            case when is_complete and {{ first_day(days_after('day', 1)) }} <> {{ first_day('day') }} then 1 else 0 end
        ) = 1 as is_complete,
        coalesce({{ total('new_users') }}, 0) as new_users,
        coalesce({{ total('sessions') }}, 0) as sessions,
        coalesce({{ total('events') }}, 0) as events
    from {{ ref('barchart__daily_active_users') }}
    group by customer, product, {{ first_day('day') }}
{% endmacro %}
