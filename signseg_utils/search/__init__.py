"""From a unit to the image that it prefers."""
