"""Engines that search the accelerator of a network: one file each."""
