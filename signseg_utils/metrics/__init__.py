"""Measures on images; each module is one measure and a plugin found by its name.

`similarity` (representational change), `lpips` (perceptual distance), `objectness` (a detector's
confidence), `spectrum` (spatial frequency), `foreground` (what lies inside object masks).
"""
