"""From plain data to objects: check the settings, decide how to compute, build. No Hydra."""
