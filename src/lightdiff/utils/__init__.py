"""Helpers without any diffusion in them, for configuration, files, images and processes."""
