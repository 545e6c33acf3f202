import pytest

from sightline.models import AnchorDetector, ResNet, create_model, list_models


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
