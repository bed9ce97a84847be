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

-- The code without the product in front of it: WATCHLIST-SYMBOL-ADDED → SYMBOL-ADDED.
codes as (
    select
        *,
        case
            when replace(type, '_', '-') like product || '-%'
                then substr(replace(type, '_', '-'), length(product) + 2)
            else replace(type, '_', '-')
        end as code
    from events
),

-- The action begins at the last word in -ED, or else at the last word.
actions as (
    select
        *,
        coalesce(
            {{ regex_group('code', '^(.+-)?([^-]+ED(-.+)?)$', 2) }},
            {{ regex_group('code', '([^-]+)$', 1) }},
            code
        ) as action
    from codes
)

select
    event_id,
    customer,
    product,
    type,
    case
        when length(code) > length(action) + 1
            then substr(code, 1, length(code) - length(action) - 1)
        else product
    end as subject,
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
from actions
