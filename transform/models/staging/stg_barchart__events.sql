{%- set columns = source_columns() %}

with events as (
    select
        {%- for name in ['event_id', 'customer', 'product', 'type'] + text_columns() %}
        {{ text_column(columns, name) }} as {{ name }},
        {%- endfor %}
        {{ utc_column(columns, 'timestamp') }} as occurred_at,
        {{ utc_column(columns, 'end') }} as window_end,
        {{ json_object(columns['extra'].quoted) if 'extra' in columns else 'null' }} as extra
    from {{ source('barchart', 'events') }}
),

{{ subjects_and_actions('events') }}

select
    event_id,
    customer,
    product,
    type,
    subject,
    action,
    occurred_at,
    cast(occurred_at as date) as day,
    user_id,
    session_id,
    symbol,
    {%- for name in flag_columns() %}
    {{ to_flag(name) }} as {{ name }},
    {%- endfor %}
    {%- for name in count_columns() %}
    {{ to_count(name) }} as {{ name }},
    {%- endfor %}
    extra,
    window_end
from split_types
