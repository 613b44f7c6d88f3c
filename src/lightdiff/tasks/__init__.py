"""What the commands do: compose the configuration, build the objects, train, sample. The only package that imports Hydra."""
