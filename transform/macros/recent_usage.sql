{# What users did in the last 28 days of their customer. #}
{% macro recent_usage() %}
    select days.customer, days.product, days.user_id, days.type, days.symbol, days.events
    from {{ ref('int_barchart__daily_usage') }} as days
    inner join (
        select customer, max(day) as last_day
        from {{ ref('barchart__daily_active_users') }}
        group by customer
    ) as customers on customers.customer = days.customer
    where days.day > {{ days_after('customers.last_day', -28) }}
{% endmacro %}
