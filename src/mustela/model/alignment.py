"""Where weights lie in memory."""

from __future__ import annotations

from torch import nn

ALIGNMENT = 64  # bytes; what torch's own allocator gives, and what vector instructions like


def align_weights(model: nn.Module) -> None:
    """Copy weights that lie at an odd address of a mapped file into memory of their own.

    Matrix products add up in another order at such an address, so a loaded model would differ in the last bit
    from the one that was saved; and a file that is replaced while it is mapped would take the weights along.
    Only weights on the CPU are mapped.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()
