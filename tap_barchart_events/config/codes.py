"""Codes of products and event types: misspellings are refused, unknown ones are passed on.

Both are open sets: an unknown code may be newer than this package.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.products import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

EVENT_TYPES = frozenset(code for product in PRODUCTS.values() for code in product.event_types)


def refuse_misspellings(
    products: Sequence[str], event_types: Sequence[str], described: Iterable[str]
) -> None:
    """Refuse codes that are a known one with one misspelling.

    Args:
        products: Product codes.
        event_types: Event type codes.
        described: Products whose columns the user has set: they exist.

    Raises:
        SettingError: A code looks like a known one but is not.
    """
    for name, codes, known in (
        ("products", [code for code in products if code not in described], PRODUCTS),
        ("event_types", event_types, EVENT_TYPES),
    ):
        for code in codes:
            near = None if code in known else _near_miss(code, known)
            if near:
                raise SettingError(
                    f"setting {name} names {code[:100]!r}, which is not known; did you mean {near}?"
                )


def unknown_codes(
    products: Sequence[str], event_types: Sequence[str], described: Iterable[str]
) -> Iterator[str]:
    """Yield a warning for each code that is passed on to the service although it is unknown.

    Args:
        products: Product codes.
        event_types: Event type codes.
        described: Products whose columns the user has set.
    """
    known = {code for name in products if name in PRODUCTS for code in PRODUCTS[name].event_types}
    unknown = [code for code in event_types if code not in known]
    if unknown:
        yield (
            f"event_types: no configured product is known to have {', '.join(unknown)}; they are "
            "passed on to the service, because they may be newer than this tap"
        )
    for code in products:
        if code not in PRODUCTS and code not in described:
            yield (
                f"product {code} is not known; it is passed on to the service, because it may be "
                "newer than this tap. Its files need a header, or the setting columns; known "
                f"products are {', '.join(PRODUCTS)}"
            )


def _near_miss(code: str, known: Iterable[str]) -> str | None:
    variants = _variants(code)
    return next((other for other in sorted(known) if variants & _variants(other)), None)


def _variants(code: str) -> set[str]:
    """Return a code without case and separators, whole and with each one character left out.

    Two codes have a variant in common when one character is added, left out, replaced or moved.
    """
    plain = re.sub(r"[^A-Z0-9]", "", code.upper())
    return {plain, *(plain[:at] + plain[at + 1 :] for at in range(len(plain)))}
