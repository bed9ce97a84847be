-- How many of those who create a watchlist add a symbol to one and come back to it within a week.
{{ barchart_funnel(['WATCHLIST-CREATED', 'WATCHLIST-SYMBOL-ADDED', 'WATCHLIST-ACCESSED'], within=7) }}
