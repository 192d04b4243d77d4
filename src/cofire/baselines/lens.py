"""SAELens, imported when it is needed: it takes seconds, and is an extra."""

import warnings
from types import ModuleType

from cofire.baselines.sae_folder import sae_dictionary
from cofire.dictionary import Dictionary
from cofire.errors import CofireError, DataError, InputError
from cofire.site import Site


def sae_lens() -> ModuleType:
    """The package, with its parts.

    Raises:
        InputError: when it is not installed, or does not fit what is.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it imports is out of date in places
        try:
            import sae_lens
        except ImportError as error:
            raise InputError(
                f"SAELens cannot be imported ({error}); install it with: pip install 'cofire[sae]'."
            ) from error
    return sae_lens


def load_public_sae(release: str, sae_id: str, *, site: Site | None = None) -> Dictionary:
    """A published SAE by its names in SAELens' list; downloaded once.

    Args:
        release: such as ``gpt2-small-res-jb``, or the hub's ``owner/name``.
        sae_id: one SAE of it, such as ``blocks.8.hook_resid_pre``.
        site: where it is wanted; refused when that is not where it was trained.

    Raises:
        DataError: when there is none of these names, or it cannot be downloaded.
        InputError: as for ``load_sae``, or without the extra ``sae``.
    """
    lens = sae_lens()
    name = f"{release}/{sae_id}"
    try:
        sae = lens.SAE.from_pretrained(release, sae_id)
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"SAELens cannot load {name}: {reason}. Check both names and the connection, or give "
            "load_sae a local folder."
        ) from error
    try:
        return sae_dictionary(sae.cfg.to_dict(), sae.state_dict(), site=site)
    except CofireError as error:
        raise type(error)(f"{name}: {error}") from error
