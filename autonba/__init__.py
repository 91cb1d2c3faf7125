"""Joint search of quantized networks and their accelerators, down to a verified bitstream."""

__version__ = "0.1.0"
