"""Pictures for people: colours, overlays, error maps, sheets."""
