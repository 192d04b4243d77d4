"""Which device and number type to compute with."""

import torch

from cofire.errors import InputError


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn ``auto`` into the best device present (CUDA, then MPS, then CPU) and check the rest.

    Raises:
        InputError: when the device is unknown or not present on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise InputError(
            f"Unknown device {device!r}; use auto, cpu, cuda, cuda:N or mps."
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "Device 'cuda' was asked for but PyTorch sees no CUDA GPU; use cpu or auto."
        )
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("Device 'mps' was asked for but is not available; use cpu or auto.")
    return resolved


_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_dtype(name: str | torch.dtype) -> torch.dtype:
    """Turn ``float32``, ``bfloat16`` or ``float16`` into a torch dtype.

    Raises:
        InputError: for any other name.
    """
    if isinstance(name, torch.dtype):
        return name
    if name not in _DTYPES:
        raise InputError(f"Unknown number type {name!r}; use one of {', '.join(_DTYPES)}.")
    return _DTYPES[name]
