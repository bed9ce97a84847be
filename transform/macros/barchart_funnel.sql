{# A query for the users who took steps one after another: a row for each customer and step.

   A user is counted at a step who had an event of each type up to it, each later than the one before,
   the last at most `within` days after the first. Types may be of several products.

   Columns: customer, step (from 1 on), type, users, share_of_first (of the users of the first step).

   Args:
       steps: Event types, such as ['PORTFOLIO-CREATED', 'PORTFOLIO-POSITION-CREATED'].
       within: A number of days. #}
{% macro barchart_funnel(steps, within) %}
    {%- set events = ref('barchart_events', 'stg_barchart__events') %}
    {%- set types = [] %}
    {%- for step in steps %}{% do types.append("'" ~ step | replace("'", "''") ~ "'") %}{% endfor %}
    with step_1 as (
        select distinct customer, user_id, occurred_at as began_at, occurred_at as reached_at
        from {{ events }}
        where type = {{ types[0] }} and user_id is not null
    ),
    {%- for type in types[1:] %}

    step_{{ loop.index + 1 }} as (
        select earlier.customer, earlier.user_id, earlier.began_at, min(events.occurred_at) as reached_at
        from step_{{ loop.index }} as earlier
        inner join {{ events }} as events
            on events.customer = earlier.customer
            and events.user_id = earlier.user_id
            and events.type = {{ type }}
            and events.occurred_at > earlier.reached_at
            and events.occurred_at <= {{ dbt.dateadd('day', within, 'earlier.began_at') }}
        group by earlier.customer, earlier.user_id, earlier.began_at
    ),
    {%- endfor %}

    customers as (
        select distinct customer
        from step_1
    ),

    users as (
        {%- for type in types %}
        select
            customers.customer,
            {{ loop.index }} as step,
            {{ type }} as type,
            count(distinct step_{{ loop.index }}.user_id) as users
        from customers
        left join step_{{ loop.index }} on step_{{ loop.index }}.customer = customers.customer
        group by customers.customer
        {{ 'union all' if not loop.last }}
        {%- endfor %}
    )

    select
        customer,
        step,
        type,
        users,
        cast(users as double precision)
            / first_value(users) over (partition by customer order by step) as share_of_first
    from users
    order by customer, step
{% endmacro %}
