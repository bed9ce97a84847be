"""Codes: misspellings are refused, unknown ones are passed on with a warning."""

from __future__ import annotations

import pytest

from tap_barchart_events.config.codes import EVENT_TYPES, refuse_misspellings, unknown_codes
from tap_barchart_events.exceptions import SettingError
from tap_barchart_events.products import PRODUCTS


@pytest.mark.parametrize(
    "code",
    [
        *("WATCHLIST-CREATD", "WATCHLIST-CREATEDD", "WATCHLIST-CREATET", "WATCHLIST-CRAETED"),
        *("watchlist-created", "WATCHLIST_CREATED", "WATCHLISTCREATED", "watchlist created "),
    ],
)
def test_a_near_miss_of_a_known_type_is_refused_with_the_type_that_was_meant(code: str) -> None:
    for products in (["WATCHLIST"], ["ALERT"], ["GADGET"]):
        with pytest.raises(SettingError, match=r"did you mean WATCHLIST-CREATED\?") as caught:
            refuse_misspellings(products, ["WATCHLIST-DELETED", code], [])
        assert repr(code) in str(caught.value)


@pytest.mark.parametrize("code", ["WATCHLISTS", "watchlist", "WATCHLST", "WTACHLIST"])
def test_a_near_miss_of_a_known_product_is_refused(code: str) -> None:
    with pytest.raises(SettingError, match=r"did you mean WATCHLIST\?"):
        refuse_misspellings(["ALERT", code], [], [])
    refuse_misspellings([code], [], [code])  # its columns are set, so it exists


def test_no_known_code_is_refused() -> None:
    refuse_misspellings(list(PRODUCTS), sorted(EVENT_TYPES), [])


def test_a_code_that_is_only_like_a_known_one_is_passed_on_with_a_warning() -> None:
    types = ["WATCHLIST-CREATED", "WATCHLIST-UPDATED-ANEW"]
    refuse_misspellings(["WATCHLIST", "GADGET"], types, [])
    of_types, of_products = unknown_codes(["WATCHLIST", "GADGET"], types, [])
    assert "known to have WATCHLIST-UPDATED-ANEW;" in of_types
    assert "product GADGET is not known" in of_products


def test_a_type_of_a_product_that_is_not_configured_is_a_warning() -> None:
    [warning] = unknown_codes(["ALERT"], ["WATCHLIST-CREATED"], [])
    assert "no configured product is known to have WATCHLIST-CREATED" in warning


def test_known_codes_and_products_with_columns_are_no_warning() -> None:
    assert not list(unknown_codes(["WATCHLIST", "GADGET"], ["WATCHLIST-CREATED"], ["GADGET"]))
