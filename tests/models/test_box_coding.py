import torch

from sightline.models import decode_boxes, encode_boxes


def test_zero_deltas_decode_to_the_anchor():
    anchors = torch.tensor([[1.0, 2, 5, 10]])
    torch.testing.assert_close(decode_boxes(torch.zeros(1, 4), anchors), anchors)


def test_hand_worked_deltas():
    anchors = torch.tensor([[0.0, 0, 10, 20]])
    boxes = torch.tensor([[5.0, 0, 25, 20]])  # centre moves by one anchor width, width doubles
    expected = torch.tensor([[1.0, 0, torch.log(torch.tensor(2.0)), 0]])
    torch.testing.assert_close(encode_boxes(boxes, anchors), expected)


def test_encode_then_decode_gives_the_boxes_back():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(50, 2, 2, generator=generator) * 100
    anchors, boxes = (
        torch.cat((c, c + 1 + torch.rand(50, 2, generator=generator) * 50), 1)
        for c in corner.unbind(1)
    )
    torch.testing.assert_close(decode_boxes(encode_boxes(boxes, anchors), anchors), boxes)


def test_wild_deltas_stay_finite():
    boxes = decode_boxes(torch.full((1, 4), 1e4), torch.tensor([[0.0, 0, 8, 8]]))
    assert boxes.isfinite().all()
