{# Return the columns of the table `events` by lower-case name. A column is there once a product that
   has it was loaded, and databases differ in the case of names. #}
{% macro source_columns() %}
    {% set columns = {} %}
    {% if execute %}
        {% for column in adapter.get_columns_in_relation(source('barchart', 'events')) %}
            {% do columns.update({column.name | lower: column}) %}
        {% endfor %}
        {% if not columns %}
            {% do exceptions.raise_compiler_error(
                "there is no table " ~ source('barchart', 'events') ~ "; load events first, or set barchart_schema (in DuckDB: DBT_DUCKDB_FILES)"
            ) %}
        {% endif %}
    {% endif %}
    {{ return(columns) }}
{% endmacro %}


{# A column of the table `events` as text; null where the table does not have it yet. #}
{% macro text_column(columns, name) -%}
    cast({{ columns[name].quoted if name in columns else 'null' }} as {{ dbt.type_string() }})
{%- endmacro %}


{# A date-time of the table `events` in UTC, as a timestamp without a zone, whichever of the two types
   the target has chosen. #}
{% macro utc_column(columns, name) -%}
    {%- set type = columns[name].data_type | lower if name in columns else '' -%}
    {%- set zoned = 'with time zone' in type or type.startswith(('timestamp_tz', 'timestamp_ltz', 'timestamptz')) -%}
    {%- set text = columns[name].quoted if name in columns else 'null' -%}
    {{ in_utc(text) if zoned else 'cast(' ~ text ~ ' as ' ~ plain_timestamp() ~ ')' }}
{%- endmacro %}
