{# Columns of products that are staged. The service holds text: flags become booleans, counts become
   numbers, and the rest stays as it is. #}
{% macro flag_columns() %}
    {{ return(['show_closed_positions', 'is_open', 'collapsed', 'filter_visible', 'is_set']) }}
{% endmacro %}

{% macro count_columns() %}
    {{ return(['symbols_count', 'fields_count', 'symbols_conversion_count', 'roots_count', 'strike_count']) }}
{% endmacro %}

{% macro text_columns() %}
    {{ return(['user_id', 'symbol', 'session_id'] + flag_columns() + count_columns()) }}
{% endmacro %}
