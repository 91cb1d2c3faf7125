"""The search of an accelerator for a network: goals, problems, engines, the command."""
