"""A place in a loaded model where activations can be read and replaced."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cofire.errors import ModelError
from cofire.models.tracing import first_tensor
from cofire.site import Site

SiteCallback: TypeAlias = Callable[[Tensor], Tensor | None]
"""Gets the activations at a site and returns their replacement, or None to leave them.

The last axis is the site's channels. The axes before it are batch and position, in most models
``[batch position channels]``; a few flatten the two into one, row-major.
"""


@dataclass(frozen=True, eq=False)
class SiteHandle:
    """One site, resolved in one model.

    Attributes:
        site: which site it is.
        module: the module whose input or output carries the activations.
        side: whether they are the module's input or its output.
        width: number of channels.
        scale: the site's activations are this factor times what the module reads or returns.
    """

    site: Site
    module: nn.Module
    side: Literal["input", "output"]
    width: int
    scale: float = 1.0

    def register(self, callback: SiteCallback) -> RemovableHandle:
        """Call back at every forward pass that comes through here, until the handle is removed.

        Raises:
            ModelError: during the forward pass, when no tensor of the right width comes by.
        """
        if self.side == "input":
            return self.module.register_forward_pre_hook(self._before(callback), with_kwargs=True)
        return self.module.register_forward_hook(self._after(callback))

    def _call(self, callback: SiteCallback, tensor: Tensor | None) -> Tensor | None:
        if tensor is None or tensor.shape[-1] != self.width:
            found = "no tensor" if tensor is None else f"a tensor of shape {tuple(tensor.shape)}"
            raise ModelError(f"At {self.site}, {self.width} channels were expected; got {found}.")
        replacement = callback(tensor if self.scale == 1 else tensor * self.scale)
        if replacement is None or self.scale == 1:
            return replacement
        return replacement / self.scale

    def _before(self, callback: SiteCallback) -> Callable[..., Any]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                replacement = self._call(callback, first_tensor(args))
                return None if replacement is None else ((replacement, *args[1:]), kwargs)
            name = next((key for key, value in kwargs.items() if isinstance(value, Tensor)), "")
            replacement = self._call(callback, kwargs.get(name))
            return None if replacement is None else (args, {**kwargs, name: replacement})

        return hook

    def _after(self, callback: SiteCallback) -> Callable[..., Any]:
        def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
            replacement = self._call(callback, first_tensor(output))
            if replacement is None:
                return None
            return (replacement, *output[1:]) if isinstance(output, tuple) else replacement

        return hook
