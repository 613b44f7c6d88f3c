"""Helpers without diffusion in them: configuration, files, images, processes."""
