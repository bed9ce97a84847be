"""The schema of the stream: its properties, described, in an order that never changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from tap_barchart_events.products import PRODUCTS, columns_of, products_with_column

if TYPE_CHECKING:
    from collections.abc import Sequence


def schema(products: Sequence[str]) -> dict[str, Any]:
    """Return the schema of the stream for the products configured."""
    types = [code for name, p in PRODUCTS.items() if name in products for code in p.event_types]
    known = f" Known for the products configured: {', '.join(types)}." if types else ""
    return th.PropertiesList(
        th.Property(
            "event_id",
            th.StringType,
            required=True,
            description=(
                "32 hex digits: a hash over all that the event is made of, and its ordinal among "
                "equal events. The same in every run."
            ),
        ),
        th.Property("customer", th.StringType, required=True, description="Customer code."),
        th.Property("product", th.StringType, required=True, description="Product code."),
        th.Property(
            "timestamp",
            th.DateTimeType,
            required=True,
            description="When the event occurred, UTC, in milliseconds.",
        ),
        th.Property("type", th.StringType, description=f"Event type code.{known}"),
        *(
            th.Property(
                column,
                th.StringType,
                description=(
                    "As the service holds it; filled by "
                    f"{', '.join(products_with_column(column, products))}."
                ),
            )
            for column in columns_of(products)
        ),
        th.Property(
            "extra",
            th.ObjectType(additional_properties=th.StringType),
            description=("Values of columns that a file has and this schema does not, by name."),
        ),
        th.Property(
            "end",
            th.DateTimeType,
            required=True,
            description=(
                "End of the export window that the event came in, UTC, exclusive. The bookmark."
            ),
        ),
    ).to_dict()
