"""Helpers that know nothing of diffusion: configuration, files, images, processes."""
