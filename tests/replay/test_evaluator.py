"""Figures against the truth, computed a second time from the definitions."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as rle
from scipy.optimize import linear_sum_assignment

from kdc_core.errors import InputError
from kdc_core.skeleton import OKS_SIGMAS
from kdc_core.types import Phase
from kdc_lab.evaluate.composed_clips import Clip, Drawn
from kdc_lab.replay import cdr_messages, parallel_replay
from kdc_lab.replay.clip_files import truth_of
from kdc_lab.replay.evaluator import Evaluator
from kdc_lab.replay.ground_truth import of_people
from tests.replay.recordings import Known, Recording, record, stamp, writer

LEVELS = np.arange(0.5, 1.0, 0.05)


class Shifted(Known):
    """Knows the people a frame late in every third frame: masks are off, some are lost."""

    def __call__(self, frame):
        late = round(frame.stamp * 10) % 3 == 0
        from kdc_core.types import Frame

        return super().__call__(Frame(frame.image, frame.stamp - 0.2 * late))


def truth_masks(recording):
    return [
        {w + 1: shot.owner == w + 1 for w in range(2) if (shot.owner == w + 1).any()}
        for _, shot in recording.shots()
    ]


def found_masks(out, frames):
    answers = [[] for _ in range(frames)]
    for entry in json.loads((out / "masks.json").read_text()):
        answers[entry["image_id"] - 1].append(
            (entry["track_id"], entry["score"], rle.decode(entry["segmentation"]).astype(bool))
        )
    return answers


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def average_precision(truth, answers, similarity):
    """COCO's AP by hand: greedy matching by score, precision envelope at 101 recalls."""
    total = sum(len(t) for t in truth)
    values = []
    for level in LEVELS:
        hits = []
        for wanted, given in zip(truth, answers, strict=True):
            taken = set()
            for answer in sorted(given, key=lambda a: -a[1]):
                free = [(similarity(answer, w, wanted[w]), w) for w in wanted if w not in taken]
                best = max(free, default=(0.0, None))
                good = best[0] >= level - 1e-12
                taken |= {best[1]} if good else set()
                hits.append((answer[1], good))
        hits.sort(key=lambda h: -h[0])
        right = np.cumsum([good for _, good in hits])
        precision = right / np.arange(1, len(hits) + 1)
        recall = right / total
        at = [precision[recall >= r - 1e-12].max(initial=0) for r in np.linspace(0, 1, 101)]
        values.append(np.mean(at))
    return float(np.mean(values))


def hota(truth, answers):
    """HOTA from its definition, with dictionaries and loops."""
    pairs, seen, given = {}, {}, {}
    frames = []
    for wanted, found in zip(truth, answers, strict=True):
        table = {(w, a[0]): iou(wanted[w], a[2]) for w in wanted for a in found}
        for w in wanted:
            seen[w] = seen.get(w, 0) + 1
        for a in found:
            given[a[0]] = given.get(a[0], 0) + 1
        for (w, a), value in table.items():
            row = sum(v for (x, _), v in table.items() if x == w)
            column = sum(v for (_, y), v in table.items() if y == a)
            if value > 0:
                pairs[w, a] = pairs.get((w, a), 0.0) + value / (row + column - value)
        frames.append((list(wanted), [a[0] for a in found], table))
    align = {(w, a): v / (seen[w] + given[a] - v) for (w, a), v in pairs.items()}
    scores = []
    for level in np.arange(1, 20) * 0.05:
        matches = {}
        for wanted, found, table in frames:
            gain = np.array([[align.get((w, a), 0) * table[w, a] for a in found] for w in wanted])
            gain = gain.reshape(len(wanted), len(found))
            for i, j in zip(*linear_sum_assignment(-gain), strict=True):
                if table[wanted[i], found[j]] >= level - 1e-9:
                    key = (wanted[i], found[j])
                    matches[key] = matches.get(key, 0) + 1
        true = sum(matches.values())
        detection = true / (sum(seen.values()) + sum(given.values()) - true)
        association = sum(n * n / (seen[w] + given[a] - n) for (w, a), n in matches.items())
        scores.append(np.sqrt(detection * association / max(true, 1)))
    return float(np.mean(scores))


@pytest.fixture(scope="module")
def judged(tmp_path_factory, config):
    from kdc_core.pipeline import Pipeline
    from kdc_lab.replay.play import Replay, Settings

    folder = tmp_path_factory.mktemp("judged")
    recording = Recording(frames=24, truth=True)
    out = folder / "out"
    bag = recording.write(folder / "bag")
    summary = Replay(bag, out, Pipeline(Shifted(recording), config), Settings()).run()
    return recording, summary["truth"], out, bag


def test_mask_ap_equals_an_independent_computation(judged):
    recording, figures, out, _ = judged
    expected = average_precision(
        truth_masks(recording), found_masks(out, 24), lambda a, _, mask: iou(mask, a[2])
    )
    assert 0.3 < expected < 0.97
    assert figures["segm"]["AP"] == pytest.approx(expected, abs=1e-6)


def test_keypoint_ap_equals_an_independent_computation(judged):
    recording, figures, out, _ = judged
    truth, areas = [], []
    for _, shot in recording.shots():
        truth.append({w: shot.keypoints[w] for w in range(2) if (shot.owner == w + 1).any()})
        areas.append({w: (shot.owner == w + 1).sum() for w in range(2)})
    answers = [[] for _ in truth]
    for entry in json.loads((out / "keypoints.json").read_text()):
        frame = entry["image_id"] - 1
        points = np.reshape(entry["keypoints"], (17, 3))
        answers[frame].append((frame, entry["score"], points))

    def oks(answer, who, points):
        known = points[:, 2] > 0
        d2 = ((answer[2][:, :2] - points[:, :2]) ** 2).sum(1)
        values = np.exp(-d2 / (2 * areas[answer[0]][who] * (2 * OKS_SIGMAS) ** 2))
        return float(values[known].mean())

    expected = average_precision(truth, answers, oks)
    assert 0.3 < expected < 0.99
    assert figures["keypoints"]["AP"] == pytest.approx(expected, abs=1e-6)


def test_hota_equals_an_independent_computation(judged):
    recording, figures, out, _ = judged
    expected = hota(truth_masks(recording), found_masks(out, 24))
    assert 0.3 < expected < 0.97
    assert figures["tracks"]["HOTA"] == pytest.approx(expected, abs=1e-6)


def test_idf1_and_switches_equal_an_independent_computation(judged):
    recording, figures, out, _ = judged
    truth, answers = truth_masks(recording), found_masks(out, 24)
    names = sorted({a[0] for found in answers for a in found})
    together = np.zeros((2, len(names)))
    for wanted, found in zip(truth, answers, strict=True):
        for w, mask in wanted.items():
            for a in found:
                together[w - 1, names.index(a[0])] += iou(mask, a[2]) >= 0.5
    rows, columns = linear_sum_assignment(-together)
    total = sum(map(len, truth)) + sum(map(len, answers))
    expected = 2 * together[rows, columns].sum() / total
    assert figures["tracks"]["IDF1"] == pytest.approx(expected, abs=1e-6)
    assert figures["tracks"]["people"] == 2


def test_truth_from_files_gives_the_same_figures(judged, play, tmp_path):
    recording, expected, _, bag = judged
    images, annotations, lines = [], [], []
    for index, (time, shot) in enumerate(recording.shots()):
        seconds = f"{time // cdr_messages.NS}.{time % cdr_messages.NS:09d}"
        images.append({"id": index, "width": 320, "height": 240, "file_name": "", "stamp": seconds})
        for w in range(2):
            own = np.asfortranarray(shot.owner == w + 1, np.uint8)
            if not own.any():
                continue
            shape = rle.encode(own)
            counts = shape["counts"].decode()
            annotations.append({
                "id": len(annotations), "image_id": index, "category_id": 1, "track_id": w + 1,
                "bbox": rle.toBbox(shape).tolist(), "area": int(own.sum()), "iscrowd": 0,
                "segmentation": {"size": [240, 320], "counts": counts},
                "keypoints": shot.keypoints[w].astype(float).ravel().tolist(),
            })  # fmt: skip
            lines.append(f"{index + 1} {2001 + w} 2 240 320 {counts}")
    coco, mots = tmp_path / "truth.json", tmp_path / "truth.txt"
    coco.write_text(json.dumps({"images": images, "annotations": annotations}))
    mots.write_text("\n".join(lines))
    engine = Shifted(recording)
    by_coco, _ = play(recording, bag, "coco", engine=engine, truth=str(coco))
    for kind in ("segm", "keypoints"):
        assert by_coco["truth"][kind]["AP"] == pytest.approx(expected[kind]["AP"], abs=1e-9)
    assert by_coco["truth"]["tracks"] == expected["tracks"]
    by_mots, _ = play(recording, bag, "mots", engine=engine, truth=str(mots))
    assert by_mots["truth"]["tracks"] == expected["tracks"]
    assert by_mots["truth"]["segm"]["AP"] == pytest.approx(expected["segm"]["AP"], abs=1e-9)
    assert by_mots["truth"]["keypoints"]["AP"] is None  # MOTS has none
    with pytest.raises(ValueError, match="cannot be used with --start"):
        play(recording, bag, "late", engine=engine, truth=str(mots), start=0.5)


def test_truth_of_one_camera_is_not_used_for_another(play, tmp_path):
    front = Recording(topic="/front/image_raw", frames=4, truth=True)
    with writer(tmp_path / "bag") as bag:
        record(bag, front)
        record(bag, Recording(topic="/rear/image_raw", frames=4))  # with the same stamps
    summary, _ = play(front, tmp_path / "bag", "default")
    assert (summary["frames"], summary["truth"]["frames"]) == (8, 4)
    given = {"truth_topic": "/front/truth/persons"}
    with pytest.raises(
        ValueError, match=r"for one camera, got /front/\S+, /rear/\S+; choose one with --topic$"
    ):
        play(front, tmp_path / "bag", "both", **given)
    one, _ = play(front, tmp_path / "bag", "one", topics=(front.topic,), **given)
    assert one["truth"] == summary["truth"]
    file = tmp_path / "truth.json"
    images = [{"id": i, "stamp_ns": stamp(i), "topic": front.topic} for i in range(4)]
    file.write_text(json.dumps({"images": images, "annotations": []}))
    assert play(front, tmp_path / "bag", "named", truth=str(file))[0]["truth"]["frames"] == 4
    del images[0]["topic"]
    file.write_text(json.dumps({"images": images, "annotations": []}))
    with pytest.raises(ValueError, match="images without `topic` are for one camera"):
        play(front, tmp_path / "bag", "unnamed", truth=str(file))


def test_frames_without_truth_are_not_evaluated(judged, play, tmp_path):
    recording, _, _, bag = judged
    file = tmp_path / "truth.json"
    entry = {"id": 1, "width": 320, "height": 240, "stamp_ns": stamp(3), "file_name": ""}
    file.write_text(json.dumps({"images": [entry], "annotations": []}))
    summary, _ = play(recording, bag, truth=str(file))
    assert (summary["frames"], summary["truth"]["frames"]) == (24, 1)
    assert summary["truth"]["segm"]["AP"] is None


@pytest.mark.parametrize("text, complaint", [
    ("{}", "expected a COCO annotation file"),
    ('{"images": [{"id": 1, "width": 2, "height": 2}], "annotations": []}', "`stamp`"),
])  # fmt: skip
def test_truth_refuses_other_files(judged, play, tmp_path, text, complaint):
    recording, _, _, bag = judged
    file = tmp_path / "truth.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        play(recording, bag, truth=str(file))
    for line in ("1 2001 2 240", "1 2001 2 240 320 PPP", "1 2001 2 -2 -3 6"):
        (tmp_path / "truth.txt").write_text(line + "\n")
        with pytest.raises(ValueError, match=r"truth.txt:1: expected `frame id class"):
            play(recording, bag, truth=str(tmp_path / "truth.txt"))


def test_truth_of_other_stamps_or_sizes_is_counted(judged, play, tmp_path):
    recording, _, _, bag = judged
    file = tmp_path / "truth.json"
    late = {"id": 1, "width": 320, "height": 240, "stamp": 5, "file_name": ""}
    file.write_text(json.dumps({"images": [late], "annotations": []}))
    summary, _ = play(recording, bag, truth=str(file))
    assert summary["truth"] is None
    assert (
        summary["skipped"][0]["reason"] == "no image has this ground truth: stamps or topics differ"
    )
    bare = {"id": 1, "stamp_ns": stamp(3), "file_name": ""}  # a size is asked for by masks alone
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "track_id": 1}
    file.write_text(json.dumps({"images": [bare], "annotations": [box]}))
    assert play(recording, bag, truth=str(file))[0]["truth"]["frames"] == 1
    small = {"id": 1, "width": 2, "height": 2, "stamp_ns": stamp(3), "file_name": ""}
    person = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "track_id": 1,
              "segmentation": {"counts": [0, 4], "size": [2, 2]}}  # fmt: skip
    file.write_text(json.dumps({"images": [small], "annotations": [person]}))
    summary, _ = play(recording, bag, truth=str(file))
    assert ("ground truth does not fit the image", "expected masks of 320x240 pixels, got 2x2") in [
        (entry["reason"], entry["first"]) for entry in summary["skipped"]
    ]


def standing(wall: bool = False):
    """Two people who stand; the second one goes behind a wall."""
    figures = (Drawn(lambda t: (60, 230), 150, pace=0), Drawn(lambda t: (220, 230), 150, pace=0))
    return Clip(figures, pillars=lambda t: [(160.0, 0.0, 290.0, 240.0)] * (wall and t > 0.45))


def tracks(frames):
    """HOTA and IDF1 of (people, truth) frames."""
    judge = Evaluator()
    for number, (people, truth) in enumerate(frames, 1):
        image = {"id": number, "width": 320, "height": 240, "file_name": "", "topic": "/c"}
        judge.add(image, people, truth)
    found = judge.figures()["tracks"]
    return found["HOTA"], found["IDF1"]


def test_mean_figures_leave_out_recordings_without_people():
    nobody = truth_of(standing().at(0.0))[:0]
    empty = replace(nobody, labels=nobody.labels * 0)
    assert tracks([(empty, [])] * 5) == (None, None)
    people = truth_of(standing().at(0.0))
    assert tracks([(people, [])] * 5) == (0.0, 0.0)
    truths = [
        {"segm": {}, "keypoints": {}, "same_person": {}, "tracks": {"HOTA": hota, "IDF1": idf1}}
        for hota, idf1 in ((0.8, 0.9), (None, None), (0.6, 0.5))
    ]
    assert parallel_replay.mean_figures(truths)["tracks"] == {"HOTA": 0.7, "IDF1": 0.7}


@pytest.mark.parametrize("masks", ["all", "one", "none"])
@pytest.mark.parametrize("second", [{"iscrowd": 1}, {"keypoints": [0] * 51, "num_keypoints": 0}])
def test_evaluator_ignores_people_that_cannot_be_compared(masks, second):
    frames = []
    for index in range(6):
        people = truth_of(standing().at(index / 10))
        one, other = of_people(people)
        other |= second
        for entry in {"all": [], "one": [other], "none": [one, other]}[masks]:
            entry["segmentation"] = []
        frames.append((people, [one, other]))
    assert tracks(frames) == (1.0, 1.0)
    if masks == "none":  # where nothing is unknown, the second one is invented
        alone = [(people, truth[:1]) for people, truth in frames]
        assert tracks(alone) == pytest.approx((np.sqrt(1 / 2), 2 / 3))


@pytest.mark.parametrize("masks", [True, False])
def test_evaluator_ignores_occluded_people(masks):
    there, frames = truth_of(standing().at(0.0)), []
    hidden = np.array([Phase.CONFIRMED, Phase.OCCLUDED], np.uint8)
    for index in range(10):
        people = truth_of(standing(wall=True).at(index / 10))
        truth = [{**e, **({} if masks else {"segmentation": []})} for e in of_people(people)]
        if len(people) == 1:
            people = replace(there, labels=people.labels, phase=hidden)
        frames.append((people, truth))
    assert [len(truth) for _, truth in frames] == [2] * 5 + [1] * 5
    assert tracks(frames) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"bbox": [0, 0]}, "truth.json: "),
        ({"segmentation": [[5]]}, "truth.json: segmentation: "),
        ({"segmentation": [3]}, "truth.json: "),
        ({"keypoints": [1, 2]}, "truth.json: "),
    ],
)
def test_truth_refuses_malformed_annotations(judged, play, tmp_path, change, complaint):
    recording, _, _, bag = judged
    file = tmp_path / "truth.json"
    image = {"id": 1, "width": 320, "height": 240, "stamp_ns": stamp(3)}
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], **change}
    file.write_text(json.dumps({"images": [image], "annotations": [entry]}))
    with pytest.raises(InputError, match=complaint):
        play(recording, bag, truth=str(file))
