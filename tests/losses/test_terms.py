import doctest

import pytest
import torch

from sightline.losses import Terms, as_terms, terms


def test_the_sum_of_the_losses_is_minimised_and_logs_are_not():
    weight = torch.tensor([2.0, 3.0], requires_grad=True)
    found = Terms({"class": weight[0] * 2, "box": weight[1] * 5}, {"norm": weight.sum() * 100})
    assert float(found.total.detach()) == 19
    found.total.backward()
    assert weight.grad.tolist() == [2, 5]


def test_terms_without_a_loss_have_no_total():
    with pytest.raises(ValueError, match="there is no loss among the terms"):
        _ = Terms({}, {"positives": 3}).total


def test_each_form_of_a_loss_becomes_terms():
    scalar = torch.tensor(1.5)
    assert as_terms(scalar).losses == {"loss": scalar} and as_terms(scalar).logs == {}
    assert as_terms({"a": scalar, "b": scalar}) == Terms({"a": scalar, "b": scalar})
    given = Terms({"a": scalar}, {"positives": 3})
    assert as_terms(given) is given


@pytest.mark.parametrize(("value", "name"), [(1.5, "float"), ([1], "list"), (None, "NoneType")])
def test_what_is_no_loss_is_named(value, name):
    with pytest.raises(TypeError, match=f"must return a scalar tensor or a dict .* got {name}"):
        as_terms(value)


def test_examples():
    assert doctest.testmod(terms).failed == 0
