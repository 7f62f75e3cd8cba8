"""From a code to an image: one family of generators a file, found by name."""

# Karhunen-Loeve axes of natural colours: luminance, blue-yellow, red-green, with their spread
# (Olah et al. 2017, 10.23915/distill.00007, colour decorrelation; columns scaled to unit luminance)
COLOURS = ((1.0, 1.0, 1.0), (0.35, 0.0, -0.35), (0.09, -0.18, 0.09))
