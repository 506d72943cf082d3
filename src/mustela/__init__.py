"""mustela: train, evaluate and use region-level vision-language models.

The names below are loaded on first use, so that `import mustela` stays fast and needs no torch.
"""

__version__ = "0.1.0.dev0"

__all__ = ["__version__"]
