"""JSON Schemas of the published file formats."""
