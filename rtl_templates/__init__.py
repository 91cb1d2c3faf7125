"""Verilog library, and templates of chunk, top and boards."""
