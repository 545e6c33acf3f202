"""How every public op treats wrong arguments."""

import inspect

import pytest
import torch

from sightline import ops

from .calls import CALLS, on_tensors

# Words of a binding, which say nothing to who called a function of ours.
BINDINGS = ("incompatible function arguments", "Expected a value of type", "sightline::", "Declar")

GIVEN = {
    "None": None,
    "2**70": 2**70,
    "-2**70": -(2**70),
    "10**400": 10**400,
    "text": "text",
    "object": object(),
    "[]": [],
    "[None]": [None],
}


def test_every_public_op_has_a_call_with_all_its_arguments():
    assert sorted(CALLS) == sorted(ops.__all__)
    for name, arguments in CALLS.items():
        assert set(arguments) == set(inspect.signature(getattr(ops, name)).parameters), name


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["arrays", "tensors"])
def test_a_wrong_argument_is_refused_in_words_that_name_it(kind, name, given):
    op = getattr(ops, name)
    valid = on_tensors(CALLS[name]) if kind == "tensors" else CALLS[name]
    for argument, value in valid.items():
        if isinstance(value, bool):
            continue  # a flag takes what Python takes for true or false
        several = given == [None] and isinstance(value, list)
        try:
            op(**{**valid, argument: [None] * len(value) if several else given})
        except (TypeError, ValueError) as error:
            said = str(error)
            assert f"`{argument}" in said, f"{argument}={given!r}: {said}"
            assert not any(words in said for words in BINDINGS), f"{argument}={given!r}: {said}"
            if given is None and isinstance(value, float | int):
                assert "got None" in said, said
        except MemoryError:
            assert isinstance(given, int)


def test_a_threshold_of_none_is_said_to_be_none():
    with pytest.raises(TypeError, match=r"^`iou_threshold` must be a number, got None$"):
        ops.nms(torch.zeros(1, 4), torch.zeros(1), None)
    with pytest.raises(ValueError, match=r"^`k` must be below 2\^63, got 1180591620717411303424$"):
        ops.box_iou_topk(torch.zeros(1, 4), torch.zeros(1, 4), 2**70)
