"""Sites and layer lists are spelled as users spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofire.errors import InputError
from cofire.site import Site, parse_layers


@pytest.mark.parametrize("kind", ["mlp", "mlp_out", "attn", "resid_pre", "resid_post"])
def test_a_site_reads_back_from_its_name(kind):
    assert Site.parse(Site(9, kind).name) == Site(9, kind)


def test_site_names_are_those_of_transformer_lens():
    assert Site(9, "mlp").name == "blocks.9.mlp.hook_post"
    assert Site(0, "resid_post").name == "blocks.0.hook_resid_post"
    assert Site(3, "attn").name == "blocks.3.attn.hook_z"


@pytest.mark.parametrize("name", ["blocks.9", "blocks.x.mlp.hook_post", "blocks.9.hook_nothing"])
def test_an_unknown_site_name_lists_the_known_ones(name):
    with pytest.raises(InputError, match=r"blocks\.N\.mlp\.hook_post"):
        Site.parse(name)


@given(st.sets(st.integers(0, 30), min_size=1))
def test_layer_lists_come_back_sorted_each_once(layers):
    text = ",".join(map(str, [*layers, *layers]))
    assert parse_layers(text, 31) == sorted(layers)


def test_ranges_and_all():
    assert parse_layers("0,9-12") == [0, 9, 10, 11, 12]
    assert parse_layers("all", 3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("17-18", "Layer 18 does not exist: the model has 18 layers, 0 to 17"),
        ("5-3", "runs backwards"),
        ("five", "Cannot read layers 'five'"),
        ("", "Cannot read layers"),
    ],
)
def test_bad_layers_say_what_to_write(text, message):
    with pytest.raises(InputError, match=message):
        parse_layers(text, 18)


def test_an_endless_range_is_refused_before_it_is_made():
    with pytest.raises(InputError, match="Cannot read layers '0-99999999999'"):
        parse_layers("0-99999999999")
