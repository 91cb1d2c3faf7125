"""Cost of an accelerator: time, energy and resources, each rule written once."""
