{# Expressions of a with clause that split the types of rows into subject and action; the last one is
   split_types. Where rows are grouped by type anyway, do that before: it is slow. #}
{% macro subjects_and_actions(rows) -%}
-- The code without the product in front of it: WATCHLIST-SYMBOL-ADDED → SYMBOL-ADDED.
codes as (
    select
        *,
        case
            when replace(type, '_', '-') like product || '-%'
                then substr(replace(type, '_', '-'), length(product) + 2)
            else replace(type, '_', '-')
        end as code
    from {{ rows }}
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
),

split_types as (
    select
        *,
        case
            when length(code) > length(action) + 1
                then substr(code, 1, length(code) - length(action) - 1)
            else product
        end as subject
    from actions
)
{%- endmacro %}
