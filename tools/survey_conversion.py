"""Converts and folds the networks of torchvision and timm, and compares each with its original.

    python tools/survey_conversion.py                    # all of torchvision, some 90 of timm
    python tools/survey_conversion.py --quick            # one or two small ones of each family
    python tools/survey_conversion.py resnet18 timm/levit_128s --report --compile

Prints one line per network: how many batch norms were fused, converted alone and left, how many
fold, and whatever differs or fails. Weights and statistics are random. Outputs and gradients are
compared in float64, in training, contiguous and channels-last, and in evaluation: in float32 the
training statistics of so few values amplify rounding above any tolerance. Outputs of evaluation are
compared in float32 too. Needs timm and torchvision, as in the environment of `make compat`.
"""

import argparse
import copy
import io
import pathlib
import random
import sys
import traceback
import warnings
from collections import Counter
from typing import Any

import torch
from torch import nn

from sightline.compat.torchvision import install
from sightline.models import convert_batch_norm, fold_batch_norm

install()
import timm  # noqa: E402
import torchvision  # noqa: E402

MOST_PARAMETERS = 90_000_000
CLOSE, CLOSE_FLOAT32 = 1e-6, 1e-4  # of the largest value of a tensor
SIZE = 32
TOO_SLOW = {"s3d"}  # takes 16 frames of 224 x 224
LARGER = {"inception": 96, "googlenet": 64, "xception": 64}
TIMM = """
     botnet26t_256 coatnet_nano_rw_224 convmixer_768_32 convnext_pico cpubone_nano
    cs3darknet_focus_s cs3darknet_s cspdarknet53 cspresnet50 cspresnext50 cspnext_tiny darknet53
    densenet121 densenetblur121d dla34 dla46x_c dla60_res2next dm_nfnet_f0 dpn48b dpn68b
    eca_resnet33ts edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientnet_b0
    efficientnet_es efficientnet_lite0 efficientnetv2_rw_t efficientvim_m1 efficientvit_b0
    efficientvit_m0 ese_vovnet19b_slim_dw ese_vovnet39b fasternet_t0 fastvit_t8 fbnetc_100
    gernet_s ghostnet_050 halonet_h1 hardcorenas_b hgnetv2_b0 hrnet_w18_small iformer_t
    inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lambda_resnet26t lcnet_050
    lcnetv2_small legacy_seresnet18 legacy_xception levit_128s levit_conv_128s
    lowformer_b0 mixnet_s mnasnet_050 mobilenetv1_100 mobilenetv2_050 mobilenetv3_small_050
    mobilenetv4_conv_small mobileone_s0 mobilevit_xxs mobilevitv2_050 nextvit_small nf_resnet26
    regnetx_002 regnety_002 regnetz_b16 repghostnet_050 repvgg_a0 repvit_m1 res2net50_14w_8s
    res2next50 resnest14d resnet18 resnet26t resnet50 resnet50d resnetblur50 resnetrs50 resnetaa50
    resnetv2_18 resnetv2_50x1_bit resnext26ts resnext50_32x4d rexnet_100 rexnetr_200 selecsls42
    seresnet33ts seresnext26t_32x4d shvit_s1 skresnet18 spnasnet_100 starnet_s050 swiftformer_xs
    test_byobnet test_efficientnet test_resnet tf_efficientnetv2_b0 tiny_vit_5m_224 tinynet_e
    tresnet_m vgg11_bn visformer_tiny volo_d1_224 vovnet39a vit_small_resnet50d_s16_224
    wide_resnet50_2 xception41 xception41p xcit_nano_12_p8_224
"""

QUICK = """
    mobilenet_v2 mobilenet_v3_small shufflenet_v2_x0_5 mnasnet0_5 resnet18 resnet50 regnet_x_400mf
    regnet_y_400mf efficientnet_b0 densenet121 googlenet inception_v3
    ssdlite320_mobilenet_v3_large fasterrcnn_mobilenet_v3_large_320_fpn retinanet_resnet50_fpn
    fcos_resnet50_fpn lraspp_mobilenet_v3_large deeplabv3_mobilenet_v3_large fcn_resnet50
    r3d_18 mc3_18 r2plus1d_18
    timm/test_byobnet timm/test_efficientnet timm/test_resnet timm/resnet18 timm/mobilenetv1_100
    timm/mobilenetv2_050 timm/mobilenetv3_small_050 timm/mobilenetv4_conv_small timm/lcnet_050
    timm/mnasnet_050 timm/tinynet_e timm/ghostnet_050 timm/regnetx_002 timm/regnety_002
    timm/repvgg_a0 timm/mobileone_s0 timm/levit_128s timm/levit_conv_128s timm/starnet_s050
    timm/fbnetc_100 timm/rexnet_100 timm/cspresnet50 timm/darknet53 timm/seresnext26t_32x4d
    timm/dla34
"""


def names() -> list[str]:
    of_torchvision = torchvision.models.list_models()
    of_torchvision = [name for name in of_torchvision if name not in TOO_SLOW]
    return [*of_torchvision, *(f"timm/{name}" for name in TIMM.split())]


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name.startswith("timm/"):
        model = timm.create_model(name[5:], pretrained=False)
    else:
        options: dict[str, Any] = {"weights": None}
        if "detection" in torchvision.models.get_model_builder(name).__module__:
            options |= {"weights_backbone": None, "num_classes": 5}
        elif "segmentation" in torchvision.models.get_model_builder(name).__module__:
            options |= {"weights_backbone": None}
        elif name == "inception_v3":
            options |= {"aux_logits": False, "init_weights": False}  # it needs 299 pixels
        model = torchvision.models.get_model(name, **options)
    if hasattr(model, "transform") and hasattr(model.transform, "min_size"):
        model.transform.min_size, model.transform.max_size = (96,), 96  # not 800
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for values in (module.weight, module.bias, module.running_mean, module.running_var):
                if values is not None:
                    values.data.uniform_(0.5, 1.5)
    return model


def inputs_of(name: str, model: nn.Module) -> tuple[Any, ...]:
    """Four images, or clips, of a size that the network takes; for a detector, with targets."""
    generator = torch.Generator().manual_seed(1)
    kind = type(model).__module__
    if ".detection." in kind:
        images = list(torch.rand(4, 3, 96, 96, generator=generator, dtype=torch.float64))
        box = torch.tensor([[8.0, 8, 60, 70], [30, 20, 90, 90]], dtype=torch.float64)
        targets = [{"boxes": box + i, "labels": torch.tensor([1, 2])} for i in range(4)]
        if "keypoint" in name:
            for target in targets:
                target["labels"] = torch.tensor([1, 1])
                target["keypoints"] = torch.full((2, 17, 3), 40.0, dtype=torch.float64)
        if "mask" in name:
            for target in targets:
                target["masks"] = torch.ones(2, 96, 96, dtype=torch.uint8)
        return images, targets
    if ".video." in kind:
        return (torch.rand(4, 3, 8, SIZE, SIZE, generator=generator, dtype=torch.float64),)
    size = next((size for part, size in LARGER.items() if part in name), SIZE)
    settings = getattr(model, "default_cfg", {})
    if settings.get("fixed_input_size"):
        size = settings["input_size"][-1]
    return (torch.rand(4, 3, size, size, generator=generator, dtype=torch.float64),)


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    parts = value if isinstance(value, (list, tuple)) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def to_layout(value: Any, layout: str) -> Any:
    if isinstance(value, list):
        return value  # of a detector, which makes its own batch
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    wanted = formats[value.dim()] if layout == "channels_last" else torch.contiguous_format
    return value.clone(memory_format=wanted)


def outputs_of(model: nn.Module, inputs: tuple[Any, ...]) -> list[torch.Tensor]:
    """All tensors that come out; of a detector in evaluation, those before boxes are chosen.

    Rounding alone would choose other boxes among those whose random scores are almost equal.
    """
    if len(inputs) > 1 or not isinstance(inputs[0], list):
        return tensors(model(*inputs))
    batch = model.transform([image.clone() for image in inputs[0]])[0]
    features = list(model.backbone(batch.tensors).values())
    head = model.rpn.head if hasattr(model, "rpn") else model.head
    return tensors([features, head(features)])


def results(model: nn.Module, inputs: tuple[Any, ...], training: bool, layout: str) -> Any:
    """Outputs, gradients (of weights and inputs) and buffers after one pass."""
    model.train(training).zero_grad()
    images = to_layout(inputs[0], layout)
    given = [image.requires_grad_() for image in tensors(images)]
    torch.manual_seed(2), random.seed(2)
    outputs = outputs_of(model, (images, *copy.deepcopy(inputs[1:] if training else ())))
    loss = sum(
        (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum()
        for y in outputs
        if y.is_floating_point()
    )
    leaves = [*given, *model.parameters()]
    grads: Any = [None] * len(leaves)
    if loss.requires_grad:
        grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    zero = torch.zeros(1, dtype=torch.float64)
    return (
        [y.detach() for y in outputs],
        [zero if g is None else g for g in grads],
        [buffer.clone() for buffer in model.buffers()],
    )


def largest_error(theirs: Any, ours: Any) -> float:
    """Over outputs, gradients and buffers: the largest difference, by the largest of its tensor."""
    worst = 0.0
    for a_group, b_group in zip(theirs, ours, strict=True):
        if [a.shape for a in a_group] != [b.shape for b in b_group]:
            return float("inf")
        # Gradients that are zero but for rounding: a bias before a batch norm has one.
        floor = 1e-6 * max((float(a.abs().max()) for a in a_group if a.numel()), default=0)
        for a, b in zip(a_group, b_group, strict=True):
            if a.numel():
                scale = max(float(a.abs().max()), floor, 1e-30)
                difference = (a.double() - b.double()).abs()
                worst = max(worst, float(difference.max()) / scale)
                if not difference.isfinite().all() and a.isfinite().all():
                    return float("inf")
    return worst


def check(name: str, given: argparse.Namespace) -> tuple[str, Counter[str]]:
    """What became of a network, in words, and its counts."""
    model = build(name)
    if sum(p.numel() for p in model.parameters()) > MOST_PARAMETERS:
        return "passed over: too large", Counter()
    theirs = model.double()
    norms = sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in theirs.modules())
    if not norms:
        return "has no batch norm", Counter()
    inputs = inputs_of(name, theirs)
    ours, report = convert_batch_norm(copy.deepcopy(theirs))
    if given.report:
        print(report)
    counts = Counter(fused=len(report.fused), alone=len(report.alone), left=len(report.left))
    for entry in (*report.alone, *report.left):
        counts[f"why: {entry.reason}"] += 1
    problems = []
    if counts["fused"] + counts["alone"] + counts["left"] != norms:
        problems.append(f"{norms} batch norms, reported {counts}")
    if list(ours.state_dict()) != list(theirs.state_dict()):
        problems.append("other names in the state dict")
    ours.load_state_dict(theirs.state_dict()), theirs.load_state_dict(ours.state_dict())
    for layout in ("contiguous", "channels_last"):
        if layout == "channels_last" and not isinstance(inputs[0], list):
            for m in (theirs, ours):
                five = any(p.dim() == 5 for p in m.parameters())
                kind = torch.channels_last_3d if five else torch.channels_last
                m.to(memory_format=kind) if not five or inputs[0].dim() == 5 else m
        for training in (True, False) if layout == "contiguous" else (True,):
            expected = results(theirs, inputs, training, layout)
            error = largest_error(expected, results(ours, inputs, training, layout))
            if not error <= CLOSE:
                problems.append(f"training={training} {layout}: off by {error:.1e}")
            theirs.load_state_dict(ours.state_dict())
    problems += check_uses(ours, inputs, given)
    for before in (theirs, ours):
        folded, fold_report = fold_batch_norm(before.eval())
        counts["folded"] = len(fold_report.fused)
        with torch.no_grad():
            x = to_layout(inputs[0], "contiguous")
            pair = [(outputs_of(m, (x,)),) for m in (before, folded)]
        error = largest_error(*pair)
        if not error <= CLOSE:
            problems.append(f"folded: off by {error:.1e}")
    with torch.no_grad():
        images = inputs[0]
        x = [i.float() for i in images] if isinstance(images, list) else images.float()
        pair = [(outputs_of(m.float(), (x,)),) for m in (theirs, ours)]
    if not (error := largest_error(*pair)) <= CLOSE_FLOAT32:
        problems.append(f"float32: off by {error:.1e}")
    said = ", ".join(f"{counts[key]} {key}" for key in ("fused", "alone", "left", "folded"))
    return "; ".join([said, *problems]), counts + Counter(differs=bool(problems))


def check_uses(ours: nn.Module, inputs: tuple[Any, ...], given: argparse.Namespace) -> list[str]:
    """What else is done with a converted model: copies, files, a second conversion, compilation."""
    problems = []
    ours.eval()
    x = to_layout(inputs[0], "contiguous")
    saved = io.BytesIO()
    torch.save(ours, saved)
    saved.seek(0)
    twins = {"torch.save": torch.load(saved, weights_only=False)}
    twins["copied and converted again"], report = convert_batch_norm(copy.deepcopy(ours))
    if report.fused or report.alone:
        problems.append(f"converted twice: {report}")
    if given.compile:
        torch._dynamo.reset()
        twins["torch.compile"] = torch.compile(copy.deepcopy(ours), backend="aot_eager")
    if given.fx:
        twins["torch.fx"] = torch.fx.symbolic_trace(copy.deepcopy(ours))
    with torch.no_grad():
        expected = outputs_of(ours, (x,))
        for name, twin in twins.items():
            error = largest_error((expected,), (outputs_of(twin, (x,)),))
            if not error <= CLOSE:
                problems.append(f"{name}: off by {error:.1e}")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="resnet18 of torchvision, timm/resnet18 of timm")
    parser.add_argument("--quick", action="store_true", help="small ones of each family")
    parser.add_argument("--report", action="store_true", help="print each conversion's report")
    parser.add_argument("--compile", action="store_true", help="compile the converted models too")
    parser.add_argument("--fx", action="store_true", help="trace the converted models too")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    total: Counter[str] = Counter()
    for name in given.names or (QUICK.split() if given.quick else names()):
        try:
            said, counts = check(name, given)
        except Exception as error:  # of whatever kind, and go on
            first = (str(error).strip() or "no words").splitlines()[0]
            here = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{pathlib.Path(here.filename).name}:{here.lineno}"
            said, counts = f"FAILED: {type(error).__name__} in {place}: {first}", Counter(failed=1)
        print(f"{name}: {said}", flush=True)
        total += counts + Counter(networks="fused" in said)
    for key, count in total.most_common():
        print(f"{count:6}  {key}")
    sys.exit(bool(total["failed"] or total["differs"]))


if __name__ == "__main__":
    main()
