"""Verilog of a bundle's accelerator: templates for structure, Amaranth for control."""
