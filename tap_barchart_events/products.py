"""The known products and the columns of their export files. Does not depend on files or Singer.

Facts of the service, version 6.0.0. An event carries a context: a list of strings whose names
depend on the event's type. A product's columns are ``timestamp``, ``type``, then every context
name of its event types in order of first appearance. So the context of each event type is all
that has to be kept here, and adding an event type, or a name to its context, changes one line.
"""

import re
from collections.abc import Mapping, Sequence
from configparser import ConfigParser
from dataclasses import dataclass

LEADING = ("timestamp", "type")
"""The first two columns of every file."""

RESERVED = ("event_id", "customer", "product", "timestamp", "type", "extra", "end")
"""Properties of every record, whatever its product; a column with such a name goes to ``extra``."""


@dataclass(frozen=True, slots=True)
class Product:
    """A software system whose events the service keeps."""

    code: str
    """The service's code of the product, e.g. ``WATCHLIST``."""

    event_types: Mapping[str, tuple[str, ...]]
    """Event type code → names of its context, camelCase, in order."""

    older_layouts: tuple[tuple[str, ...], ...] = ()
    """Column lists of earlier versions of the service, camelCase, oldest first."""

    @property
    def layouts(self) -> tuple[tuple[str, ...], ...]:
        """All known column lists of its files, camelCase, oldest first; the last is current."""
        names = (name for context in self.event_types.values() for name in context)
        return (*self.older_layouts, tuple(dict.fromkeys((*LEADING, *names))))

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns beyond ``timestamp`` and ``type``, snake_case, the current ones first."""
        names = (snake_case(name) for layout in reversed(self.layouts) for name in layout)
        return tuple(name for name in dict.fromkeys(names) if name not in LEADING)


def snake_case(name: str) -> str:
    """Return the name that a column has in the stream, e.g. ``userId`` → ``user_id``.

    Lower case words of letters and digits, joined by ``_``; such a name stays as it is.
    Empty if the name holds no letter or digit.
    """
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_")


def plain(name: str) -> str:
    """Return the letters and digits of a name, in lower case."""
    return re.sub(r"[\W_]", "", name.lower())


def columns_of(products: Sequence[str]) -> list[str]:
    """Return the union of the products' columns: those that are properties of the stream.

    The order is that of the products in this module, not that of the settings; so another
    product only adds columns. An unknown product has none.
    """
    names = (
        name for code, product in PRODUCTS.items() if code in products for name in product.columns
    )
    return [name for name in dict.fromkeys(names) if name not in RESERVED]


def types_of_others(product: str) -> dict[str, str]:
    """Return the event types that only other known products have: code → product."""
    own = PRODUCTS[product].event_types if product in PRODUCTS else ()
    return {
        code: other.code
        for other in PRODUCTS.values()
        for code in other.event_types
        if code not in own
    }


_KNOWN_PRODUCTS = """
[ALERT]
identity columns: user_id alert_id symbol
older layout: userId alertId
ALERT-APPLICATION-LOADED: userId
ALERT-CREATED: userId alertId symbol
ALERT-STARTED: userId alertId symbol
ALERT-STARTED-ALL: userId
ALERT-STOPPED: userId alertId symbol
ALERT-STOPPED-ALL: userId
ALERT-NOTES-EDITED: userId alertId symbol
ALERT-DELETED: userId alertId symbol
ALERT-DELETED-ALL: userId

[WATCHLIST]
identity columns: user_id watchlist_id symbol view_name view_type data_mode class_filter
WATCHLIST-APPLICATION-LOADED: userId
WATCHLIST-ACCESSED: userId watchlistId
WATCHLIST-CREATED: userId watchlistId
WATCHLIST-DOWNLOADED: userId watchlistId
WATCHLIST-PRINTED: userId watchlistId
WATCHLIST-DELETED: userId watchlistId
WATCHLIST-SYMBOL-ADDED: userId watchlistId symbol
WATCHLIST-SYMBOL-REMOVED: userId watchlistId symbol
WATCHLIST-CUSTOM-VIEW-CREATED: userId viewName
WATCHLIST-CUSTOM-VIEW-DELETED: userId viewName
WATCHLIST-VIEW-TYPE-CHANGED: userId watchlistId viewType
WATCHLIST-VIEW-CHANGED: userId watchlistId viewName
WATCHLIST-DATA-MODE-CHANGED: userId watchlistId dataMode
WATCHLIST-SCREEN-INVOKED-EDIT: userId watchlistId
WATCHLIST-SCREEN-INVOKED-PORTFOLIO-ADD: userId watchlistId symbol
WATCHLIST-SCREEN-INVOKED-SYMBOL-NOTES: userId watchlistId symbol
WATCHLIST-ASSET-CLASS-FILTER-ACTIVATED: userId classFilter
WATCHLIST-ASSET-CLASS-FILTER-DEACTIVATED: userId classFilter

[PORTFOLIO]
identity columns: user_id portfolio_id position_id symbol frame view_name show_closed_positions
    dividend_strategy cash_adjustment_strategy duration
older layout: userId portfolioId positionId frame viewName showClosedPositions dividendStrategy
    cashAdjustmentStrategy
PORTFOLIO-APPLICATION-LOADED: userId
PORTFOLIO-ACCESSED: userId portfolioId
PORTFOLIO-CREATED: userId portfolioId
PORTFOLIO-DOWNLOADED: userId portfolioId
PORTFOLIO-DELETED: userId portfolioId
PORTFOLIO-TRANSACTION-CREATED: userId portfolioId positionId symbol
PORTFOLIO-TRANSACTION-EDITED: userId portfolioId positionId symbol
PORTFOLIO-TRANSACTION-DELETED: userId portfolioId positionId symbol
PORTFOLIO-POSITION-CREATED: userId portfolioId positionId symbol
PORTFOLIO-POSITION-DELETED: userId portfolioId positionId symbol
PORTFOLIO-BROKERAGE-REPORT-DOWNLOADED: userId portfolioId frame
PORTFOLIO-CUSTOM-VIEW-CREATED: userId viewName
PORTFOLIO-CUSTOM-VIEW-DELETED: userId viewName
PORTFOLIO-VIEW-TYPE-CHANGED: userId portfolioId viewName
PORTFOLIO-CLOSED-POSITIONS-CHANGED: userId portfolioId showClosedPositions
PORTFOLIO-DIVIDEND-STRATEGY-CHANGED: userId portfolioId dividendStrategy
PORTFOLIO-CASH-ADJUSTMENT-STRATEGY-CHANGED: userId portfolioId cashAdjustmentStrategy
PORTFOLIO-SCREEN-INVOKED-TRANSACTIONS-SINGLE: userId portfolioId positionId symbol
PORTFOLIO-SCREEN-INVOKED-TRANSACTIONS-ALL: userId portfolioId
PORTFOLIO-SCREEN-INVOKED-EDIT-PORTFOLIO: userId portfolioId
PORTFOLIO-SCREEN-INVOKED-EDIT-TRANSACTION: userId portfolioId positionId symbol
PORTFOLIO-SCREEN-INVOKED-WATCHLIST-ADD: userId portfolioId positionId symbol
PORTFOLIO-WEALTHSCOPE-REPORT-VIEWED: userId portfolioId
PORTFOLIO-VALUE-GRAPH-OPENED: userId portfolioId
PORTFOLIO-VALUE-GRAPH-DURATION-CHANGED: userId portfolioId duration

[CMDTYVIEW]
identity columns: user_id session_id browser hostname workspace_id title panels panel_id origin
    search_string symbol path is_open filter filter_selected active_filters symbols collapsed
    expression_name expression_source expression columns column export_type previous_format
    new_format action previous_number new_number old_field new_field old_root new_root date
    old_value new_value strike_count view month_code underlier previous_aggregation new_aggregation
    previous_range new_range old_roll_type new_roll_type old_back_adjust new_back_adjust indicator
    indicators filter_visible value zip_code previous_zip_code locations previous_locations
    commodities previous_commodities distance previous_distance deliveries previous_deliveries
    workspace
older layout: userId sessionId browser workspace
CMDTYVIEW-LOGIN: userId sessionId browser hostname
CMDTYVIEW-LOGOUT: userId sessionId
CMDTYVIEW-WORKSPACE-CREATED: userId sessionId workspaceId title
CMDTYVIEW-WORKSPACE-ACTIVATED: userId sessionId workspaceId title panels
CMDTYVIEW-PANEL-ADDED: userId sessionId panelId title origin
CMDTYVIEW-PANEL-REMOVED: userId sessionId panelId title
CMDTYVIEW-SYMBOL-BROWSER-SHOWN: userId sessionId panelId title
CMDTYVIEW-SYMBOL-BROWSER-SEARCH: userId sessionId panelId title searchString
CMDTYVIEW-SYMBOL-BROWSER-SYMBOL-CONFIRMED: userId sessionId panelId title symbol path
CMDTYVIEW-SYMBOL-BROWSER-BRANCH-STATE-CHANGED: userId sessionId panelId title path isOpen
CMDTYVIEW-SYMBOL-BROWSER-FILTER-CHANGED: userId sessionId panelId title filter filterSelected
    activeFilters
CMDTYVIEW-SYMBOL-BROWSER-SYMBOLS-INSERTED: userId sessionId panelId title symbols
CMDTYVIEW-SYMBOL-SEARCH-SYMBOL-SELECTED: userId sessionId panelId title symbol path
CMDTYVIEW-SYMBOL-SEARCH-RESULTS-SHOWN: userId sessionId panelId title searchString
CMDTYVIEW-SYMBOL-SEARCH-BRANCH-SELECTED: userId sessionId panelId title path collapsed
CMDTYVIEW-SYMBOL-SEARCH-OPTIONS-TREE-OPENED: userId sessionId panelId title path
CMDTYVIEW-EXPRESSION-DIALOG-SHOWN: userId sessionId panelId title
CMDTYVIEW-EXPRESSION-ADDED: userId sessionId panelId title expressionName expressionSource
    expression
CMDTYVIEW-COLUMNS-MENU-SHOWN: userId sessionId panelId columns
CMDTYVIEW-COLUMNS-ADDED: userId sessionId panelId column columns
CMDTYVIEW-COLUMNS-REMOVED: userId sessionId panelId column columns
CMDTYVIEW-COLUMNS-RESTORED: userId sessionId panelId columns
CMDTYVIEW-EXCEL-EXPORT-SHOWN: userId sessionId panelId title
CMDTYVIEW-EXCEL-EXPORT-COMPLETED: userId sessionId panelId title exportType
CMDTYVIEW-QUOTES-PRICE-FORMAT-SHOWN: userId sessionId panelId title
CMDTYVIEW-QUOTES-PRICE-FORMAT-CHANGED: userId sessionId panelId title previousFormat newFormat
CMDTYVIEW-QUOTES-CONTEXT-MENU-SHOWN: userId sessionId panelId title symbol
CMDTYVIEW-QUOTES-CONTEXT-MENU-SELECTED: userId sessionId panelId title action symbol
CMDTYVIEW-OPTIONS-STRIKES-NUM-STRIKES-MENU-SHOWN: userId sessionId panelId title
CMDTYVIEW-OPTIONS-STRIKES-NUM-STRIKES-CHANGED: userId sessionId panelId title previousNumber
    newNumber
CMDTYVIEW-OPTIONS-STRIKES-FIELDS-MENU-SHOWN: userId sessionId panelId title
CMDTYVIEW-OPTIONS-STRIKES-FIELD-CHANGED: userId sessionId panelId title oldField newField
CMDTYVIEW-OPTIONS-STRIKES-ROOT-SELECTED: userId sessionId panelId title oldRoot newRoot
CMDTYVIEW-OPTIONS-CHAIN-DATE-CHANGED: userId sessionId panelId title date
CMDTYVIEW-OPTIONS-CHAIN-HIGHLIGHT-CHANGED: userId sessionId panelId title oldValue newValue
CMDTYVIEW-OPTIONS-CHAIN-STRIKE-COUNT-CHANGED: userId sessionId panelId title strikeCount
CMDTYVIEW-OPTIONS-CHAIN-COLUMNS-VIEW-CHANGED: userId sessionId panelId title view
CMDTYVIEW-OPTIONS-CHAIN-EXPIRATION-MENU-SHOWN: userId sessionId panelId title
CMDTYVIEW-OPTIONS-CHAIN-EXPIRATION-SELECTED: userId sessionId panelId title monthCode underlier date
CMDTYVIEW-HISTORY-AGGREGATION-MENU_SHOWN: userId sessionId panelId title symbol
CMDTYVIEW-HISTORY-AGGREGATION-SELECTED: userId sessionId panelId title symbol previousAggregation
    newAggregation
CMDTYVIEW-HISTORY-RANGE-SELECTED: userId sessionId panelId title symbol previousRange newRange
CMDTYVIEW-HISTORY-CONTRACT-ROLL-CHANGED: userId sessionId panelId title symbol oldRollType
    newRollType oldBackAdjust newBackAdjust
CMDTYVIEW-HISTORY-INDICATOR-DIALOG-SHOWN: userId sessionId panelId title symbol
CMDTYVIEW-HISTORY-INDICATOR-ADDED: userId sessionId panelId title symbol indicator indicators
CMDTYVIEW-HISTORY-INDICATOR-REMOVED: userId sessionId panelId title symbol indicator indicators
CMDTYVIEW-NEWS-FILTER-VISIBILITY-CHANGED: userId sessionId panelId title filterVisible
CMDTYVIEW-NEWS-SHOW-SYMBOLS-CHANGED: userId sessionId panelId title value
CMDTYVIEW-NEWS-OPEN-CHART-ON-CLICK-CHANGED: userId sessionId panelId title value
CMDTYVIEW-NEWS-FILTER-CHANGED: userId sessionId panelId title filter
CMDTYVIEW-GRAIN-BID-ZIP-CODE-CHANGED: userId sessionId panelId title zipCode previousZipCode
CMDTYVIEW-GRAIN-BID-LOCATIONS-CHANGED: userId sessionId panelId title locations previousLocations
CMDTYVIEW-GRAIN-BID-COMMODITIES-CHANGED: userId sessionId panelId title commodities
    previousCommodities
CMDTYVIEW-GRAIN-BID-DISTANCE-CHANGED: userId sessionId panelId title distance previousDistance
CMDTYVIEW-GRAIN-BID-DELIVERIES-CHANGED: userId sessionId panelId title deliveries previousDeliveries

[ENTITLEMENTS]
identity columns: user_id operation
ENTITLEMENTS_AUTHORIZATION_FAILED: userId operation

[MARKETPLACE]
identity columns: user_id user_type company_id company_name entity_id
CUSTOMER-CREATED: userId userType companyId companyName entityId
ACCOUNT-LINKED: userId userType companyId companyName entityId
CUSTOMER-OFFER-ACCESS-APPROVED: userId userType companyId companyName entityId
OFFER-CREATED: userId userType companyId companyName entityId
CONTRACT-SIGNED: userId userType companyId companyName entityId

[CMDTYVIEW-WEB-EXCEL]
identity columns: user_id symbols_count fields_count symbols_conversion_count aggregation_type
    symbol options_type strike_type look_back_date chart_type roots_count refresh_module
CMDTYVIEW-WEB-EXCEL-LOGIN: userId
CMDTYVIEW-WEB-EXCEL-LOGOUT: userId
CMDTYVIEW-WEB-EXCEL-QUOTES-OPENED: userId
CMDTYVIEW-WEB-EXCEL-QUOTES-INSERTED: userId symbolsCount fieldsCount symbolsConversionCount
CMDTYVIEW-WEB-EXCEL-HISTORY-OPENED: userId
CMDTYVIEW-WEB-EXCEL-HISTORY-INSERTED: userId symbolsCount fieldsCount aggregationType
CMDTYVIEW-WEB-EXCEL-OPTIONS-OPENED: userId
CMDTYVIEW-WEB-EXCEL-OPTIONS-INSERTED: userId symbol optionsType strikeType lookBackDate
CMDTYVIEW-WEB-EXCEL-CHART-OPENED: userId
CMDTYVIEW-WEB-EXCEL-CHART-INSERTED: userId symbolsCount chartType
CMDTYVIEW-WEB-EXCEL-FORWARD-CURVES-OPENED: userId
CMDTYVIEW-WEB-EXCEL-FORWARD-CURVES-INSERTED: userId rootsCount
CMDTYVIEW-WEB-EXCEL-ORDER-BOOK-OPENED: userId
CMDTYVIEW-WEB-EXCEL-ORDER-BOOK-INSERTED: userId symbolsCount
CMDTYVIEW-WEB-EXCEL-REFRESH-SELECTED: userId refreshModule
CMDTYVIEW-WEB-EXCEL-REFRESH-ALL: userId
CMDTYVIEW-WEB-EXCEL-ABOUT-OPENED: userId
CMDTYVIEW-WEB-EXCEL-PREFERENCES-OPENED: userId
CMDTYVIEW-WEB-EXCEL-TEMPLATES-OPENED: userId
CMDTYVIEW-WEB-EXCEL-TEMPLATES-CLICKED: userId
CMDTYVIEW-WEB-EXCEL-HELP-OPENED: userId
CMDTYVIEW-WEB-EXCEL-USER-GUIDE-CLICKED: userId
CMDTYVIEW-WEB-EXCEL-UPGRADE-CLICKED: userId

[BARCHART-WEB-EXCEL]
identity columns: user_id symbols_count fields_count symbols_conversion_count aggregation_type
    symbol options_type strike_type look_back_date refresh_module
BARCHART-WEB-EXCEL-LOGIN: userId
BARCHART-WEB-EXCEL-LOGOUT: userId
BARCHART-WEB-EXCEL-QUOTES-OPENED: userId
BARCHART-WEB-EXCEL-QUOTES-INSERTED: userId symbolsCount fieldsCount symbolsConversionCount
BARCHART-WEB-EXCEL-HISTORY-OPENED: userId
BARCHART-WEB-EXCEL-HISTORY-INSERTED: userId symbolsCount fieldsCount aggregationType
BARCHART-WEB-EXCEL-OPTIONS-OPENED: userId
BARCHART-WEB-EXCEL-OPTIONS-INSERTED: userId symbol optionsType strikeType lookBackDate
BARCHART-WEB-EXCEL-REFRESH-SELECTED: userId refreshModule
BARCHART-WEB-EXCEL-REFRESH-ALL: userId
BARCHART-WEB-EXCEL-ABOUT-OPENED: userId
BARCHART-WEB-EXCEL-PREFERENCES-OPENED: userId
BARCHART-WEB-EXCEL-TEMPLATES-OPENED: userId
BARCHART-WEB-EXCEL-TEMPLATES-CLICKED: userId
BARCHART-WEB-EXCEL-HELP-OPENED: userId
BARCHART-WEB-EXCEL-USER-GUIDE-CLICKED: userId
BARCHART-WEB-EXCEL-UPGRADE-CLICKED: userId

[BARCHART-EXCEL]
identity columns: user_id symbols_count fields_count options_type strike_type look_back_date
    chart_type roots_count refresh_module reports_type market_type lists_type category types
    volatility_type module_type is_set
BARCHART-EXCEL-LOGIN: userId
BARCHART-EXCEL-LOGOUT: userId
BARCHART-EXCEL-QUOTES-OPENED: userId
BARCHART-EXCEL-QUOTES-CLOSED: userId
BARCHART-EXCEL-QUOTES-INSERTED: userId symbolsCount fieldsCount
BARCHART-EXCEL-HISTORY-OPENED: userId
BARCHART-EXCEL-HISTORY-CLOSED: userId
BARCHART-EXCEL-HISTORY-INSERTED: userId symbolsCount fieldsCount
BARCHART-EXCEL-OPTIONS-OPENED: userId
BARCHART-EXCEL-OPTIONS-CLOSED: userId
BARCHART-EXCEL-OPTIONS-INSERTED: userId optionsType strikeType lookBackDate
BARCHART-EXCEL-CHART-OPENED: userId
BARCHART-EXCEL-CHART-CLOSED: userId
BARCHART-EXCEL-CHART-INSERTED: userId symbolsCount chartType
BARCHART-EXCEL-FORWARD-CURVES-OPENED: userId
BARCHART-EXCEL-FORWARD-CURVES-CLOSED: userId
BARCHART-EXCEL-FORWARD-CURVES-INSERTED: userId rootsCount
BARCHART-EXCEL-TIME-AND-SALES-OPENED: userId
BARCHART-EXCEL-TIME-AND-SALES-CLOSED: userId
BARCHART-EXCEL-TIME-AND-SALES-INSERTED: userId symbolsCount fieldsCount
BARCHART-EXCEL-REFRESH-SELECTED: userId refreshModule
BARCHART-EXCEL-REFRESH-ALL: userId
BARCHART-EXCEL-STOCKS-LISTS-OPENED: userId
BARCHART-EXCEL-STOCKS-LISTS-CLOSED: userId
BARCHART-EXCEL-STOCKS-LISTS-INSERTED: userId reportsType marketType
BARCHART-EXCEL-ETFS-LISTS-OPENED: userId
BARCHART-EXCEL-ETFS-LISTS-CLOSED: userId
BARCHART-EXCEL-ETFS-LISTS-INSERTED: userId reportsType marketType
BARCHART-EXCEL-OPTIONS-LISTS-OPENED: userId
BARCHART-EXCEL-OPTIONS-LISTS-CLOSED: userId
BARCHART-EXCEL-OPTIONS-LISTS-INSERTED: userId reportsType listsType marketType
BARCHART-EXCEL-FUTURES-LISTS-OPENED: userId
BARCHART-EXCEL-FUTURES-LISTS-CLOSED: userId
BARCHART-EXCEL-FUTURES-LISTS-INSERTED: userId reportsType
BARCHART-EXCEL-CURRENCIES-LISTS-OPENED: userId
BARCHART-EXCEL-CURRENCIES-LISTS-CLOSED: userId
BARCHART-EXCEL-CURRENCIES-LISTS-INSERTED: userId reportsType
BARCHART-EXCEL-FUNDAMENTALS-OPENED: userId
BARCHART-EXCEL-FUNDAMENTALS-CLOSED: userId
BARCHART-EXCEL-FUNDAMENTALS-INSERTED: userId symbolsCount category types
BARCHART-EXCEL-STOCK-SCREENER-OPENED: userId
BARCHART-EXCEL-STOCK-SCREENER-CLOSED: userId
BARCHART-EXCEL-STOCK-SCREENER-INSERTED: userId marketType
BARCHART-EXCEL-ETF-SCREENER-OPENED: userId
BARCHART-EXCEL-ETF-SCREENER-CLOSED: userId
BARCHART-EXCEL-ETF-SCREENER-INSERTED: userId marketType
BARCHART-EXCEL-OPTIONS-SCREENER-OPENED: userId
BARCHART-EXCEL-OPTIONS-SCREENER-CLOSED: userId
BARCHART-EXCEL-OPTIONS-SCREENER-INSERTED: userId marketType
BARCHART-EXCEL-VOLATILITY-ANALYSIS-OPENED: userId
BARCHART-EXCEL-VOLATILITY-ANALYSIS-CLOSED: userId
BARCHART-EXCEL-VOLATILITY-ANALYSIS-INSERTED: userId volatilityType
BARCHART-EXCEL-WATCHLIST-OPENED: userId
BARCHART-EXCEL-WATCHLIST-CLOSED: userId
BARCHART-EXCEL-WATCHLIST-INSERTED: userId symbolsCount fieldsCount
BARCHART-EXCEL-PORTFOLIO-OPENED: userId
BARCHART-EXCEL-PORTFOLIO-CLOSED: userId
BARCHART-EXCEL-PORTFOLIO-INSERTED: userId fieldsCount
BARCHART-EXCEL-ABOUT-OPENED: userId
BARCHART-EXCEL-ABOUT-CLOSED: userId
BARCHART-EXCEL-PREFERENCES-OPENED: userId
BARCHART-EXCEL-PREFERENCES-CLOSED: userId
BARCHART-EXCEL-SETTINGS-OPENED: userId
BARCHART-EXCEL-SETTINGS-CLOSED: userId
BARCHART-EXCEL-CUSTOM-VIEWS-INSERTED: userId moduleType isSet
BARCHART-EXCEL-CUSTOM-VIEWS-CHANGED: userId moduleType
BARCHART-EXCEL-CUSTOM-VIEWS-LOADED: userId moduleType isSet
"""
"""The known products. ``identity columns`` are the columns that ``event_id`` covers: those of all
layouts known at version 6.0.0. They are frozen, because tables are keyed by ``event_id``: a column
that is added to a product later is not listed, and a product that is added later has none.
``older layout`` is the column list of an earlier version of the service. All other lines are event
types with the names of their contexts.
"""

PRODUCTS: dict[str, Product] = {}
"""The known products, by code. The service accepts others too: the set is open."""

IDENTITY_COLUMNS: dict[str, tuple[str, ...]] = {}
"""Product → the columns that ``event_id`` covers; for a product that is not here, it covers all."""


def _read_known_products() -> None:
    parser = ConfigParser(delimiters=(":",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keeps the case of names
    parser.read_string(_KNOWN_PRODUCTS)
    for code in parser.sections():
        lines = {name: tuple(names.split()) for name, names in parser[code].items()}
        if identity := lines.pop("identity columns", None):
            IDENTITY_COLUMNS[code] = identity
        older = lines.pop("older layout", None)
        PRODUCTS[code] = Product(code, lines, ((*LEADING, *older),) if older else ())


_read_known_products()

EVENT_TYPES = frozenset(code for product in PRODUCTS.values() for code in product.event_types)
"""The event types of all known products."""
