{# What the databases write differently. PostgreSQL and DuckDB mostly agree. #}

{% macro plain_timestamp() %}{{ return(adapter.dispatch('plain_timestamp')()) }}{% endmacro %}
{% macro default__plain_timestamp() %}{{ return('timestamp') }}{% endmacro %}
{% macro snowflake__plain_timestamp() %}{{ return('timestamp_ntz') }}{% endmacro %}


{# A timestamp with a zone → the same instant in UTC, without a zone. #}
{% macro in_utc(value) %}{{ return(adapter.dispatch('in_utc')(value)) }}{% endmacro %}
{% macro default__in_utc(value) %}{{ return(value ~ " at time zone 'UTC'") }}{% endmacro %}
{% macro snowflake__in_utc(value) %}
    {{ return("cast(convert_timezone('UTC', " ~ value ~ ") as timestamp_ntz)") }}
{% endmacro %}


{# The part of a text that the group of a regular expression matches; null where it does not. #}
{% macro regex_group(text, pattern, group) -%}
    {{ adapter.dispatch('regex_group')(text, pattern, group) }}
{%- endmacro %}
{% macro default__regex_group(text, pattern, group) -%}
    (regexp_match({{ text }}, '{{ pattern }}'))[{{ group }}]
{%- endmacro %}
{% macro duckdb__regex_group(text, pattern, group) -%}
    nullif(regexp_extract({{ text }}, '{{ pattern }}', {{ group }}), '')
{%- endmacro %}
{% macro snowflake__regex_group(text, pattern, group) -%}
    regexp_substr({{ text }}, '{{ pattern }}', 1, 1, 'e', {{ group }})
{%- endmacro %}


{# A text of 1 to 18 digits as a number; anything else is null, never an error. #}
{% macro to_count(text) -%}
    {{ adapter.dispatch('to_count')(text) }}
{%- endmacro %}
{% macro default__to_count(text) -%}
    case when {{ text }} ~ '^[0-9]{1,18}$' then cast({{ text }} as bigint) end
{%- endmacro %}
{% macro snowflake__to_count(text) -%}
    case when regexp_like({{ text }}, '[0-9]{1,18}') then try_to_number({{ text }}, 18, 0) end
{%- endmacro %}


{# The column `extra` as JSON: an object without nulls, or null. Targets store nothing as the JSON
   null, and an object from a Parquet file has a null for each name that another event has. #}
{% macro json_object(column) -%}
    {{ adapter.dispatch('json_object')(column) }}
{%- endmacro %}
{% macro default__json_object(column) -%}
    case jsonb_typeof(cast({{ column }} as jsonb)) when 'object' then jsonb_strip_nulls(cast({{ column }} as jsonb)) end
{%- endmacro %}
{% macro duckdb__json_object(column) -%}
    case json_type(to_json({{ column }})) when 'OBJECT' then json_merge_patch('{}', to_json({{ column }})) end
{%- endmacro %}
{% macro snowflake__json_object(column) -%}
    case when not is_null_value({{ column }}) then {{ column }} end
{%- endmacro %}


{# Seconds between two timestamps, with milliseconds. #}
{% macro seconds_between(first, last) -%}
    {{ adapter.dispatch('seconds_between')(first, last) }}
{%- endmacro %}
{% macro default__seconds_between(first, last) -%}
    cast(extract(epoch from {{ last }} - {{ first }}) as double precision)
{%- endmacro %}
{% macro snowflake__seconds_between(first, last) -%}
    cast(datediff('millisecond', {{ first }}, {{ last }}) / 1000 as double precision)
{%- endmacro %}


{# A text as a number of at most 32 bits that tells it from others; a sum of a thousand million of them
   is still a bigint. #}
{% macro checksum(text) -%}
    {{ adapter.dispatch('checksum')(text) }}
{%- endmacro %}
{% macro default__checksum(text) -%}
    cast(cast(('x' || substr(md5({{ text }}), 1, 8)) as bit(32)) as bigint)
{%- endmacro %}
{% macro duckdb__checksum(text) -%}
    cast(md5_number_lower({{ text }}) % 4294967296 as bigint)
{%- endmacro %}
{% macro snowflake__checksum(text) -%}
    mod(abs(hash({{ text }})), 4294967296)
{%- endmacro %}


{# The day that is some days after another one. #}
{% macro days_after(day, number) -%}
    cast({{ dbt.dateadd('day', number, day) }} as date)
{%- endmacro %}


{# The Monday of a day's week, whatever the database holds to be the first day of a week. #}
{% macro monday(day) -%}
    {{ adapter.dispatch('monday')(day) }}
{%- endmacro %}
{% macro default__monday(day) -%}
    cast(date_trunc('week', {{ day }}) as date)
{%- endmacro %}
{% macro snowflake__monday(day) -%}
    dateadd('day', 1 - dayofweekiso({{ day }}), {{ day }})
{%- endmacro %}


{# The first day of a day's month. #}
{% macro month(day) -%}
    cast({{ dbt.date_trunc('month', day) }} as date)
{%- endmacro %}


{# A quotient of whole numbers; null where the divisor is 0. #}
{% macro share(number, of) -%}
    cast({{ number }} as double precision) / nullif({{ of }}, 0)
{%- endmacro %}


{# A sum of whole numbers as a whole number: databases sum to types of other sizes. #}
{% macro total(number) -%}
    cast(sum({{ number }}) as {{ dbt.type_bigint() }})
{%- endmacro %}
