"""Singer tap for usage events of the Barchart Event Tracking System."""

__version__ = "0.1.0"
