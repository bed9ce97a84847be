{{ each_day_has_its_events(ref('int_barchart__user_symbol_days'), 'symbol_events', 'symbol') }}
