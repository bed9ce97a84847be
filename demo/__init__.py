"""The demo, `make demo`: events through the real cycle into a target, on one machine."""
