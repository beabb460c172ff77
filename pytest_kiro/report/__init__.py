"""Makes what people read of a run: summary lines, and failed comparisons explained."""
