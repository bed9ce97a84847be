{{ each_day_has_its_events(ref('int_barchart__daily_sessions'), 'user_events', 'user_id') }}
