import pytest

from sightline.models import (
    AnchorDetector,
    AnchorMatching,
    AnchorObjective,
    Postprocess,
    ResNet,
    create_model,
    list_models,
)


@pytest.mark.parametrize("name", list_models())
def test_every_listed_model_builds(name):
    model = create_model(name, 3)
    assert isinstance(model, ResNet | AnchorDetector)
    assert model.num_classes == 3


def test_unknown_name_gives_the_nearest():
    with pytest.raises(ValueError, match="unknown model 'resnet81'; did you mean 'resnet18'"):
        create_model("resnet81", 3)


def test_unknown_argument_is_an_error():
    with pytest.raises(TypeError, match="depth"):
        create_model("resnet20", 3, depth=4)


def test_options_of_a_detector_reach_the_group_that_they_are_of():
    model = create_model("light_detector", 3, low_threshold=0.3, box_weight=2, score_threshold=0.5)
    assert model.matching == AnchorMatching(low_threshold=0.3)
    assert model.objective == AnchorObjective(box_weight=2)
    assert model.postprocess == Postprocess(score_threshold=0.5)
    with pytest.raises(TypeError, match="threshold"):
        create_model("light_detector", 3, threshold=0.5)
