"""Joint search of network and accelerator, training, and the integers that come of it."""
