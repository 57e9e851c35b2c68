"""What every painter of strokes agrees on."""

from __future__ import annotations

FLATNESS_PX = 0.01  # a curve strays from its segments by this much at most; at 0.03 the gradient suffers
MOST_SEGMENTS = 4096  # enough for a control polygon that bends by 200,000 px
HALF_DIAGONAL_PX = 0.70711  # from a pixel's centre to its corner, rounded up
END_PX = 0.01  # this near to an end of a segment, the direction away from it gives way to the one across it
LEAST_COSINE2 = 1e-6  # a line this nearly upright is taken for upright
SPECK = 1e-6  # px2: a segment of under .001 px is a point
TINY = 1e-12  # px2: keeps a root off zero
SLACK_PX = 0.01  # by which the box around a segment is too large, against rounding
