-- How many of those who create a portfolio create a position, and then a transaction, in three days.
{{ barchart_funnel(
    ['PORTFOLIO-CREATED', 'PORTFOLIO-POSITION-CREATED', 'PORTFOLIO-TRANSACTION-CREATED'], within=3
) }}
