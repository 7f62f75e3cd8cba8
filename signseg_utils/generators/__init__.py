"""From a code to an image: one family of generators a file, found by name."""
