"""patched() and patch(): what they replace and restore, and torchvision's models with and without.

The first part looks at a torchvision of a few lines, the second at the one that is installed.
"""

import contextlib
import importlib.util
import subprocess
import sys
import textwrap
import threading
from types import ModuleType

import pytest

from sightline.compat import torchvision as compat
from sightline.compat.torchvision import patch, patched, unpatch

REPLACED = sorted(compat._patch._functions)


@pytest.fixture
def vision(monkeypatch):
    """The torchvision of this process: modules that hold its functions as the real one does."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    modules = {}
    for name in (
        "torchvision",
        "torchvision.extension",
        "torchvision.ops",
        "torchvision.ops.boxes",
        "torchvision.models.detection._utils",
        "torchvision.models.detection.rpn",
        "torchvision.models.detection.roi_heads",
    ):
        modules[name.rpartition(".")[2]] = module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
    vision = modules["torchvision"]
    vision.extension, vision.ops = modules["extension"], modules["ops"]
    vision.extension._has_ops = lambda: True
    vision.boxes, vision.utils = modules["boxes"], modules["_utils"]
    for name in REPLACED:
        setattr(vision.ops, name, lambda *_: "theirs")
        setattr(vision.boxes, name, getattr(vision.ops, name))
    vision.ops.masks_to_boxes = lambda *_: "theirs"
    vision.utils.giou = vision.ops.generalized_box_iou_loss  # by another name

    class Keeps:
        def __init__(self):
            self.box_similarity = vision.boxes.box_iou

    class RegionProposalNetwork(Keeps):
        pass

    class RoIHeads(Keeps):
        pass

    vision.kinds = RegionProposalNetwork, RoIHeads
    modules["rpn"].RegionProposalNetwork, modules["roi_heads"].RoIHeads = vision.kinds
    before = contents(vision)
    yield vision
    assert contents(vision) == before and compat._patch._entered == 0


def contents(vision):
    parts = (vision.ops, vision.boxes, vision.utils, *vision.kinds)
    return [dict(vars(part)) for part in parts]


def test_every_name_of_a_function_is_ours_within_the_block(vision):
    theirs = vision.ops.masks_to_boxes
    with patched():
        for name in REPLACED:
            ours = compat._patch._functions[name]
            assert getattr(vision.ops, name) is getattr(vision.boxes, name) is ours
            assert getattr(ours, "func", ours) is getattr(compat, name)
        assert vision.utils.giou is compat.generalized_box_iou_loss
        assert vision.ops.masks_to_boxes is theirs


def test_all_is_restored_after_an_exception(vision):
    before = contents(vision)
    with contextlib.suppress(ZeroDivisionError), patched():
        raise ZeroDivisionError
    assert contents(vision) == before


def test_blocks_nest_and_outlast_each_other_in_threads(vision):
    theirs = vision.ops.nms
    with patched(), patched():
        pass
    entered, leave = threading.Event(), threading.Event()

    def other():
        with patched():
            entered.set()
            leave.wait(10)

    with patched():
        with patched():
            assert vision.ops.nms is compat.nms
        assert vision.ops.nms is compat.nms
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait(10)
    assert vision.ops.nms is compat.nms
    leave.set()
    thread.join()
    assert vision.ops.nms is theirs


def test_a_function_can_be_decorated(vision):
    @patched()
    def held():
        return vision.boxes.nms

    theirs = vision.boxes.nms
    assert [held(), held()] == [compat.nms, compat.nms] and vision.boxes.nms is theirs


def test_patch_lasts_until_unpatch_whatever_blocks_do(vision):
    theirs = vision.ops.nms
    unpatch()
    patch(), patch()
    with patched():
        assert vision.ops.nms is compat.nms
    assert vision.ops.nms is compat.nms
    with patched():
        unpatch(), unpatch()
        assert vision.ops.nms is compat.nms
    assert vision.ops.nms is theirs


def test_what_a_model_keeps_from_its_making_is_ours_within_the_block_alone(vision):
    for kind in vision.kinds:
        before, theirs = kind(), vision.ops.box_iou
        before.own, changed = kind(), kind()
        changed.box_similarity = own = lambda *_: "of the user"
        with patched():
            during = kind()
            for model in (before, during):
                assert model.box_similarity is compat.box_iou
            assert changed.box_similarity is own
        assert before.box_similarity is during.box_similarity is theirs
        assert changed.box_similarity is own


def test_modules_imported_in_the_block_have_theirs_after_it(vision, monkeypatch):
    theirs = vision.ops.nms
    with patched():
        late = ModuleType("torchvision.late")
        late.nms, late.other = vision.ops.nms, 5
        monkeypatch.setitem(sys.modules, "torchvision.late", late)
    assert late.nms is theirs and late.other == 5


def test_what_somebody_else_put_there_stays(vision):
    before, own = vision.boxes.nms, lambda *_: "of the user"
    vision.boxes.nms = own
    with patched():
        assert vision.boxes.nms is own and vision.ops.nms is compat.nms
        vision.boxes.batched_nms = own
    assert vision.boxes.nms is vision.boxes.batched_nms is own
    vision.boxes.nms, vision.boxes.batched_nms = before, vision.ops.batched_nms


needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None,
    reason="torchvision is not installed: `make compat` runs this beside it",
)
MODELS = """
    import sys
    from sightline.compat import torchvision as compat
    compat.install()
    import torch, torchvision
    from torchvision.models import detection

    def make(name, **more):
        torch.manual_seed(0)
        settings = dict(weights=None, weights_backbone=None, num_classes=5, **more)
        if "ssd" not in name:
            settings.update(min_size=128, max_size=160)
        return getattr(detection, name)(**settings)

    images = [torch.rand(3, 120, 130), torch.rand(3, 110, 140)]
    boxes = torch.tensor([[10.0, 10, 60, 70], [50, 40, 110, 100]])
    targets = [dict(boxes=boxes, labels=torch.tensor([1, 2])) for _ in images]
"""
DETECT = """
    # In float64: in float32 torchvision's NMS, which shifts the classes apart, loses bits of boxes
    # and decides otherwise where an overlap is the threshold to the last of them.
    model = make(sys.argv[1]).double().eval()
    images = [image.double() for image in images]
    for part in (model, getattr(model, "roi_heads", model)):
        part.score_thresh = 0.0
    with torch.no_grad():
        expected = model(images)
        calls = []
        nms = compat.ops.batched_nms
        compat.ops.batched_nms = lambda *a, **k: calls.append(len(a[0])) or nms(*a, **k)
        with compat.patched():
            found = model(images)
    assert sum(calls) > 100, calls
    for theirs, ours in zip(expected, found, strict=True):
        assert len(theirs["boxes"]) > 5
        for key in theirs:
            assert torch.equal(theirs[key], ours[key]), key
"""
TRAIN = """
    results = []
    for where in (compat.patched, None):
        model = make(sys.argv[1])
        if len(sys.argv) > 2:
            head = getattr(model, "head", model)
            head.regression_head._loss_type = sys.argv[2]
        torch.manual_seed(1)  # of the sampling of proposals
        if where is None:
            losses = model(images, targets)
        else:
            with where():
                losses = model(images, targets)
        sum(losses.values()).backward()
        results.append((losses, {n: p.grad for n, p in model.named_parameters()}))
    (ours, our_grads), (theirs, their_grads) = results
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-4, atol=1e-5)
    for key, grad in their_grads.items():
        if grad is not None:
            scale = grad.abs().max().item()
            torch.testing.assert_close(our_grads[key], grad, rtol=0, atol=1e-3 * scale + 1e-7)
"""


def run(script, *arguments):
    code = textwrap.dedent(MODELS) + textwrap.dedent(script)
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@needs_torchvision
@pytest.mark.parametrize(
    "name",
    [
        "retinanet_resnet50_fpn",
        "ssd300_vgg16",
        "fcos_resnet50_fpn",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
    ],
)
def test_detections_of_torchvision_are_the_same_within_the_block(name):
    run(DETECT, name)


@needs_torchvision
@pytest.mark.parametrize(
    "arguments",
    [
        ("retinanet_resnet50_fpn",),
        ("retinanet_resnet50_fpn", "giou"),
        ("retinanet_resnet50_fpn", "diou"),
        ("retinanet_resnet50_fpn", "ciou"),
        ("fcos_resnet50_fpn",),
        ("fasterrcnn_mobilenet_v3_large_320_fpn",),
    ],
    ids="-".join,
)
def test_losses_and_gradients_of_torchvision_are_the_same_within_the_block(arguments):
    run(TRAIN, *arguments)


@needs_torchvision
def test_boxes_of_torchvisions_own_tensor_class_are_taken():
    run(
        """
        from torchvision import tv_tensors
        given = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(120, 130))
        other = boxes + 1
        with compat.patched():
            ops = torchvision.ops
            assert torch.equal(ops.box_iou(given, other), compat.box_iou(boxes, other))
            scores = torch.tensor([0.5, 0.6])
            assert ops.batched_nms(given, scores, torch.zeros(2), 0.5).tolist() == [1, 0]
            model = make("retinanet_resnet50_fpn")
            model(images, [dict(t, boxes=given) for t in targets])
        """
    )
