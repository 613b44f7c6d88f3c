"""Turn a configuration that Hydra has composed into plain data."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf


def plain(cfg: Any) -> dict[str, Any]:
    """Return a composed configuration as resolved plain data; plain data stays as it is."""
    data = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True) if OmegaConf.is_config(cfg) else cfg
    assert isinstance(data, dict)
    return data  # type: ignore[return-value]
