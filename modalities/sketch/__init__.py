"""Sketches: photos, sentences and sounds drawn with Bezier strokes."""
