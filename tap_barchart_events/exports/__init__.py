"""The exports of a sync: from windows to finished files."""
