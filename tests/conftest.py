"""Shape and type checks of every annotated cofire function are switched on for the tests."""

from jaxtyping import install_import_hook

install_import_hook("cofire", "beartype.beartype")
