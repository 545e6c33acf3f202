"""The label type of a set: an enum, of its text too, and nothing else."""

import pytest

from sightline.data import Annotations, LabelType


@pytest.mark.parametrize("given", ["boxes", LabelType.BOXES])
def test_the_label_type_of_a_set_is_given_by_its_text_or_as_it_is(given):
    assert Annotations(given, ("a",), ()).label_type is LabelType.BOXES


def test_an_unknown_label_type_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="`label_type` must be 'class' or 'boxes', got 'box'"):
        Annotations("box", ("a",), ())
