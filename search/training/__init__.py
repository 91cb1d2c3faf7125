"""Data, recipes, quantizers, and what a trained network becomes: integers, checked."""
