"""Tool flows: from a bundle's RTL to netlists, bit files and the boards that run them."""
