"""Test losses at known fields: near zero if exact, larger if shifted, zero gradient if unknown."""

from __future__ import annotations

import dataclasses
import time

import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from kdc_core.config import ModelInfo  # noqa: E402
from kdc_core.skeleton import CENTRE, CHANNELS, A, channel_slices  # noqa: E402
from kdc_lab.training.batch import Batch  # noqa: E402
from kdc_lab.training.losses import Loss, LossConfig, draw_centroids, lovasz_hinge  # noqa: E402
from kdc_lab.training.targets import make_targets  # noqa: E402
from tests.batches import two_masks  # noqa: E402

INFO = ModelInfo()  # stride 8, seg_stride 2, R = 16
WHERE = channel_slices()
STILL = LossConfig(jitter=0.0)
NOSE, RIGHT_SHOULDER = 0, 6


def two_people() -> Batch:
    """Both have the same four keypoints at the same places of their masks."""
    places = ((5, 40, 24, 2), (6, 24, 24, 2), (11, 36, 60, 1), (13, 36, 76, 2))
    return two_masks(
        *((0, *place) for place in places), *((1, k, x + 56, y + 8, v) for k, x, y, v in places)
    )


def nobody() -> Batch:
    batch = two_people()
    return Batch(
        image=batch.image, owner=torch.zeros_like(batch.owner), ignore=batch.ignore,
        keypoints=torch.zeros(1, 0, 17, 3), area=torch.zeros(1, 0), mask_weight=torch.zeros(1, 0),
    )  # fmt: skip


def exact_logits(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """What a perfect network would return."""
    targets = make_targets(batch, INFO)
    scale = torch.nn.functional.pad(targets.scale, (0, 1), value=16.0)
    sigma = 0.212 * scale[0][targets.owner]  # owner -1 reads the last entry
    sure = 12.0  # a logit of 12 is a probability of 1 - 6e-6
    parts = [
        (2 * targets.heat - 1) * sure, targets.short.flatten(1, 2), targets.mid.flatten(1, 2),
        targets.anchor.flatten(1, 2), torch.log(sigma / INFO.radius)[:, None],
        (2 * targets.vis - 1) * sure,
    ]  # fmt: skip
    fields = torch.cat(parts, 1)
    assert fields.shape[1] == CHANNELS
    return fields, (2 * targets.seg - 1) * sure


def losses(fields: torch.Tensor, seg: torch.Tensor, config: LossConfig = STILL) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    total, parts = Loss(INFO, config)(fields, seg, two_people(), generator)
    return {"total": total.item()} | {name: part.item() for name, part in parts.items()}


def test_loss_is_near_zero_for_exact_fields() -> None:
    parts = losses(*exact_logits(two_people()))
    for name in ("short", "mid", "anchor", "phi", "sigma_variance", "sigma_range"):
        assert parts[name] < 1e-3, name
    for name in ("heat", "seg", "dice", "vis"):
        assert parts[name] < 2e-3, name


def test_dice_term_counts_people_not_pixels() -> None:
    batch = two_people()
    targets = make_targets(batch, INFO)
    fields, seg = exact_logits(batch)
    assert losses(fields, seg)["dice"] < 2e-3
    costs = []
    for person in (0, 1):  # all of this person's pixels are missed
        mine = torch.nn.functional.max_pool2d((batch.owner == person + 1).float()[:, None], 2) > 0
        costs.append(losses(fields, torch.where(mine, -12.0, seg))["dice"])
        x1, y1, x2, y2 = targets.box[0, person].tolist()
        owned = (targets.owner[0] == person).nonzero()
        assert (owned.min(0).values >= torch.tensor([y1, x1])).all()
        assert (owned.max(0).values < torch.tensor([y2, x2])).all()
    assert costs == pytest.approx([0.5, 0.5], abs=0.06)


def test_loss_weights_pseudo_masks_less() -> None:
    batch = dataclasses.replace(two_people(), mask_weight=torch.tensor([[1.0, 0.9]]))
    fields, seg = exact_logits(batch)
    costs = []
    for person in (0, 1):
        mine = torch.nn.functional.max_pool2d((batch.owner == person + 1).float()[:, None], 2) > 0
        _, parts = Loss(INFO, STILL)(fields, torch.where(mine, -12.0, seg), batch)
        costs.append(parts["dice"].item())
    # 0.9 of a human mask's weight times LossConfig.pseudo, of the sum of both
    assert costs == pytest.approx([1 / 1.27, 0.27 / 1.27], abs=0.06)


def test_targets_box_holds_a_mask_and_one_cell_around() -> None:
    owner = torch.zeros(1, 64, 64, dtype=torch.uint8)
    owner[0, 16:24, 8:40] = 1
    owner[0, 0:64, 56:64] = 2
    batch = Batch(
        image=torch.zeros(1, 3, 64, 64, dtype=torch.uint8), owner=owner,
        ignore=torch.zeros_like(owner), keypoints=torch.zeros(1, 3, 17, 3),
        area=torch.tensor([[256.0, 512.0, 0.0]]), mask_weight=torch.ones(1, 3),
    )  # fmt: skip
    box = make_targets(batch, INFO).box
    assert box.tolist() == [[[0, 1, 6, 4], [6, 0, 8, 8], [0, 0, 0, 0]]]


@pytest.mark.parametrize(
    ("head", "terms"),
    [("short", {"short"}), ("mid", {"mid"}), ("anchor", {"anchor", "phi"}),
     ("log_sigma", {"sigma_range", "phi"}), ("heat", {"heat"}), ("vis", {"vis"})],
)  # fmt: skip
def test_loss_wrong_head_raises_only_its_terms(head: str, terms: set[str]) -> None:
    fields, seg = exact_logits(two_people())
    before = losses(fields, seg)
    shifted = fields.clone()
    if head in ("heat", "vis"):
        shifted[:, WHERE[head]] *= -1
    else:
        shifted[:, WHERE[head]] += 2
    after = losses(shifted, seg)
    changed = {name for name in after if abs(after[name] - before[name]) > 1e-3} - {"total"}
    assert changed == terms
    assert after["total"] > before["total"] + 0.01


def test_offset_terms_have_known_values() -> None:
    fields, seg = exact_logits(two_people())
    fields[:, WHERE["short"]] += 0.5
    fields[:, WHERE["anchor"]] += 0.5
    parts = losses(fields, seg)
    # smooth L1 with beta 0.05: 0.5 - 0.025 per axis
    assert parts["short"] == pytest.approx(0.95, abs=1e-4)
    # eq. 2 in units of s_j: (0.5 + 0.5) * 16 / sqrt(2048)
    assert parts["anchor"] == pytest.approx(16 / 2048**0.5, abs=1e-4)


def test_anchor_term_weighs_large_and_small_people_equally() -> None:
    batch = two_people()
    owner = batch.owner.clone()
    owner[0, 40:, 72:] = 0  # person 1 keeps a quarter of its pixels
    batch = dataclasses.replace(batch, owner=owner)
    fields, seg = exact_logits(batch)
    cells = make_targets(batch, INFO).owner[0]
    found = []
    for person in (0, 1):
        wrong = fields.clone()
        wrong[0, WHERE["anchor"]] += 1.0 * (cells == person)
        found.append(Loss(INFO, STILL)(wrong, seg, batch)[1]["anchor"].item())
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert found[0] == pytest.approx(16 / 2048**0.5, rel=1e-4)


def test_loss_gradient_is_zero_for_unannotated_anchors() -> None:
    fields, seg = exact_logits(two_people())
    fields = (fields + 0.3).requires_grad_()
    config = LossConfig(centre_only=0.0, single_keypoint=0.0)
    Loss(INFO, config)(fields, seg, two_people())[0].backward()
    gradient = fields.grad[0, WHERE["anchor"]].unflatten(0, (A, 2))
    annotated = [5, 6, 11, 13, CENTRE]
    for k in range(A):
        assert (gradient[k].abs().sum() > 0) == (k in annotated), k
    nose = fields.grad[0, WHERE["mid"]][0:2]  # nose → left eye: neither is annotated
    assert nose.abs().sum() == 0


def test_loss_gradients_are_finite_and_reach_every_head() -> None:
    torch.manual_seed(1)
    fields = torch.randn(1, CHANNELS, 16, 16, requires_grad=True)
    seg = torch.randn(1, 1, 64, 64, requires_grad=True)
    total, parts = Loss(INFO)(fields, seg, two_people())
    total.backward()
    assert torch.isfinite(fields.grad).all() and torch.isfinite(seg.grad).all()
    for name, where in WHERE.items():
        assert fields.grad[:, where].abs().sum() > 0, name
    assert seg.grad.abs().sum() > 0
    assert total.item() == pytest.approx(
        sum(getattr(LossConfig(), name) * part.item() for name, part in parts.items()), rel=1e-5
    )
    assert all(part.ndim == 0 and not part.requires_grad for part in parts.values())


@pytest.mark.parametrize("people", [0, 3])
def test_loss_is_finite_without_people_or_masks(people: int) -> None:
    batch = nobody()
    if people:
        batch = dataclasses.replace(
            batch, keypoints=torch.zeros(1, 3, 17, 3), area=torch.zeros(1, 3),
            mask_weight=torch.zeros(1, 3),
        )  # fmt: skip
    fields = torch.zeros(1, CHANNELS, 16, 16, requires_grad=True)
    seg = torch.zeros(1, 1, 64, 64, requires_grad=True)
    total, parts = Loss(INFO)(fields, seg, batch)
    total.backward()
    assert torch.isfinite(total) and torch.isfinite(fields.grad).all()
    quiet = set(parts) - {"heat", "seg"}
    assert all(parts[name] == 0 for name in quiet)
    assert parts["seg"].item() == pytest.approx(0.6931, abs=1e-4)


def test_loss_gradient_is_zero_in_unknown_regions() -> None:
    batch = two_people()
    ignored = dataclasses.replace(batch, ignore=torch.full_like(batch.ignore, 3))
    fields = torch.zeros(1, CHANNELS, 16, 16, requires_grad=True)
    seg = torch.zeros(1, 1, 64, 64, requires_grad=True)
    Loss(INFO)(fields, seg, ignored)[0].backward()
    heat = fields.grad[0, WHERE["heat"]]
    disks = make_targets(batch, INFO).heat[0] > 0
    assert heat[~disks].abs().sum() == 0 and heat[disks].abs().min() > 0
    assert seg.grad.abs().sum() == 0


def test_heat_term_counts_hidden_keypoints_twice() -> None:
    fields = torch.zeros(1, CHANNELS, 16, 16, requires_grad=True)
    Loss(INFO)(fields, torch.zeros(1, 1, 64, 64), two_people())[0].backward()
    heat = fields.grad[0, WHERE["heat"]]
    disks = make_targets(two_people(), INFO).heat[0] > 0
    visible, hidden = heat[6][disks[6]], heat[11][disks[11]]
    assert torch.allclose(hidden.mean(), 2 * visible.mean(), rtol=1e-5)


def test_loss_is_equal_under_autocast() -> None:
    torch.manual_seed(2)
    fields, seg = torch.randn(1, CHANNELS, 16, 16), torch.randn(1, 1, 64, 64)
    plain = losses(fields, seg)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert losses(fields, seg) == plain


def test_phi_terms_prefer_pixels_that_point_at_their_centroid() -> None:
    fields, seg = exact_logits(two_people())
    swapped = fields.clone()
    owner = make_targets(two_people(), INFO).owner[0]
    # person 0's cells point at person 1, who stands (56, 8) pixels away
    for axis, step in ((0, 56 / 16), (1, 8 / 16)):
        swapped[0, WHERE["anchor"]][axis::2] += step * (owner == 0)
    # person 0 is fully lost: loss 2 per mistake; person 1's set is half wrong
    assert losses(fields, seg)["phi"] < 1e-3
    assert losses(swapped, seg)["phi"] > 1.2


def test_lovasz_hinge_of_hard_decisions_is_twice_the_jaccard_loss() -> None:
    label = torch.tensor([[1.0, 1, 1, 0, 0, 1]])
    logits = torch.tensor([[1.0, 1, -1, 1, -1, -1]])
    counted = torch.tensor([[1.0, 1, 1, 1, 1, 0]])
    # without the last cell: truth {0, 1, 2}, answer {0, 1, 3}: Jaccard 2 / 4; hinge error is 2
    assert lovasz_hinge(logits, label, counted).tolist() == [1.0]
    assert lovasz_hinge(2 * label - 1, label, counted).tolist() == [0.0]


def test_draw_centroids_frequencies() -> None:
    generator = torch.Generator().manual_seed(5)
    known = torch.zeros(1, 20000, A)
    known[..., [NOSE, RIGHT_SHOULDER, CENTRE]] = 1
    visible = torch.zeros(1, 20000, A, dtype=torch.bool)
    visible[..., NOSE] = True
    omega = draw_centroids(known, visible, LossConfig(), generator)[0]
    assert omega.sum(1).min() > 0
    assert omega[:, [k for k in range(A) if k not in (NOSE, RIGHT_SHOULDER, CENTRE)]].sum() == 0
    # CENTRE: 0.15, and where both keypoints drop out: 0.6 * 0.3^2
    centre = omega[:, CENTRE] > 0
    assert centre.float().mean().item() == pytest.approx(0.15 + 0.6 * 0.09, abs=0.01)
    # both at once: only in the weighted set, 0.6 * 0.7^2
    both = (omega[:, NOSE] > 0) & (omega[:, RIGHT_SHOULDER] > 0)
    assert both.float().mean().item() == pytest.approx(0.6 * 0.49, abs=0.015)
    # the hidden one alone: single 0.25 * 0.2 / 1.2, weighted 0.6 * 0.7 * 0.3
    hidden = (omega[:, RIGHT_SHOULDER] > 0) & ~both
    assert hidden.float().mean().item() == pytest.approx(0.25 / 6 + 0.126, abs=0.01)


def test_loss_is_determined_by_the_generator() -> None:
    torch.manual_seed(2)
    fields, seg = torch.randn(1, CHANNELS, 16, 16), torch.randn(1, 1, 64, 64)
    assert losses(fields, seg, LossConfig()) == losses(fields, seg, LossConfig())


def test_loss_never_synchronises_with_the_device() -> None:
    # meta tensors have shapes and no values: reading one, as a synchronisation would, raises
    batch = two_people().to("meta")
    fields = torch.zeros(1, CHANNELS, 16, 16, device="meta", requires_grad=True)
    seg = torch.zeros(1, 1, 64, 64, device="meta", requires_grad=True)
    parts = Loss(INFO).terms(fields, seg, make_targets(batch, INFO))
    torch.stack(list(parts.values())).sum().backward()
    assert fields.grad.shape == fields.shape


def test_loss_takes_seconds_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    b, people, side = 8, 20, 512
    owner = torch.zeros(b, side, side, dtype=torch.uint8)
    keypoints = torch.zeros(b, people, 17, 3)
    for j in range(people):
        x, y = 96 * (j % 5) + 16, 120 * (j // 5) + 16
        owner[:, y : y + 100, x : x + 60] = j + 1
        keypoints[:, j, :, :2] = torch.rand(b, 17, 2) * torch.tensor([60, 100])
        keypoints[:, j, :, :2] += torch.tensor([x, y])
        keypoints[:, j, :, 2] = 2
    batch = Batch(
        image=torch.zeros(b, 3, side, side, dtype=torch.uint8), owner=owner,
        ignore=torch.zeros_like(owner), keypoints=keypoints,
        area=torch.full((b, people), 6000.0), mask_weight=torch.ones(b, people),
    )  # fmt: skip
    fields = torch.randn(b, CHANNELS, 64, 64, requires_grad=True)
    seg = torch.randn(b, 1, 256, 256, requires_grad=True)
    start = time.perf_counter()
    make_targets(batch, INFO)
    middle = time.perf_counter()
    Loss(INFO)(fields, seg, batch)[0].backward()
    end = time.perf_counter()
    with capsys.disabled():
        print(f"\ntargets {middle - start:.2f} s, targets + loss + backward {end - middle:.2f} s")
    assert end - middle < 60
