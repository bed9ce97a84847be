"""Singer tap for usage events of the Barchart Event Tracking System."""
