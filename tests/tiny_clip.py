"""A CLIP of a few kilobytes in the files and formats of a real one, knowing letters and digits only."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel

LETTERS = string.ascii_lowercase + string.digits
WIDTH = 16


def save_tiny_clip(folder: Path) -> Path:
    """Both encoders, as the hub has them; every letter is a token, so that "a 4" has four with start and end."""
    vocabulary = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    start, end = len(vocabulary) - 2, len(vocabulary) - 1
    size = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config={
                **size,
                **{"vocab_size": len(vocabulary), "bos_token_id": start, "eos_token_id": end, "initializer_range": 0.5},
                "max_position_embeddings": 77,
            },
            vision_config={**size, "image_size": 8, "patch_size": 4},
            projection_dim=8,
        )
    )
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder
