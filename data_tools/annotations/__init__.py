"""Labels drawn as shapes, as annotation tools store them, and the masks of ids they come to."""
