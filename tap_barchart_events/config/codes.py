"""Codes of products and event types: misspellings are refused, unknown ones are passed on.

Both are open sets: an unknown code may be newer than this package. Also the name that a user of
any setting may have meant.
"""

from __future__ import annotations

import difflib
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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names the nearest known name, or nothing.

    Less strict than the rule for codes: new codes differ from known ones by a word, such as
    ``ALERT-STARTED-ALL``.
    """
    names = {plain(one): one for one in sorted(known)}
    near = difflib.get_close_matches(plain(name), names, 1, 0.7)
    return f"; did you mean {names[near[0]]}?" if near else ""


def plain(name: str) -> str:
    """Return the letters and digits of a name, in lower case."""
    return re.sub(r"[\W_]", "", name.lower())


def _near_miss(code: str, known: Iterable[str]) -> str | None:
    variants = _variants(code)
    return next((other for other in sorted(known) if variants & _variants(other)), None)


def _variants(code: str) -> set[str]:
    """Return the letters and digits of a code, whole and with each one left out.

    Two codes have a variant in common when one character is added, left out, replaced or moved.
    """
    whole = plain(code)
    return {whole, *(whole[:at] + whole[at + 1 :] for at in range(len(whole)))}
