"""The path, with a detector and an embedder that can be followed by hand and everything else real."""

from __future__ import annotations

import numpy as np
import pytest

from attendance.decide import Rule
from attendance.pipeline import FaceReader, LivePath, TrackChange
from attendance.rejected import nobody_rejected
from attendance.search.exact import ExactGallery
from attendance.track import Tracker
from attendance.types import Frame, GalleryEntry, Outcome, RGBImage
from tests.fakes import BLUE, GREEN, RED, ColourEmbedder, PatchDetector, at, picture, vector_of

RULE = Rule(threshold=0.95, margin=0.02)
NEAR_RED = (225, 40, 30)


def gallery_of(**colours: tuple[int, int, int]) -> ExactGallery:
    gallery = ExactGallery("colours", 8)
    gallery.upsert([GalleryEntry(f"t-{who}", who, vector_of(colour)) for who, colour in colours.items()])
    return gallery


def path_with(gallery: ExactGallery, *, min_frames: int = 3, max_frames: int = 5) -> tuple[LivePath, ColourEmbedder]:
    embedder = ColourEmbedder()
    reader = FaceReader(PatchDetector(), embedder)
    path = LivePath(reader, gallery, rule=lambda: RULE, tracker=Tracker(), min_frames=min_frames, max_frames=max_frames)
    return path, embedder


def play(path: LivePath, images: list[RGBImage], step_s: float = 0.1) -> list[tuple[int, TrackChange]]:
    changes = []
    for index, image in enumerate(images):
        result = path.process(Frame(image, at(index * step_s), index, "camera-1"))
        changes += [(index, change) for change in result.changes]
    return [*changes, *[(len(images), change) for change in path.finish()]]


def outcomes(changes: list[tuple[int, TrackChange]]) -> list[tuple[int, int, str]]:
    return [(i, c.track_id, "none" if c.decision is None else str(c.decision.outcome)) for i, c in changes]


def walking(colour: tuple[int, int, int], frames: int) -> list[RGBImage]:
    return [picture((colour, (20 + 6 * i, 60, 80))) for i in range(frames)]


def test_a_known_person_is_reported_once_at_the_third_good_frame_and_embedded_no_further() -> None:
    path, embedder = path_with(gallery_of(red=RED, green=GREEN))
    changes = play(path, walking(RED, 12))
    assert outcomes(changes) == [(2, 1, "known")]
    decision = changes[0][1].decision
    assert decision is not None and decision.best is not None
    assert decision.best.identity_id == "red"
    assert decision.best.similarity == pytest.approx(1.0, abs=1e-5)
    assert embedder.chips_seen == 3


def test_who_is_nearer_to_a_rejected_face_is_asked() -> None:
    faces = {"red": vector_of(NEAR_RED)[None, :]}
    path = LivePath(
        FaceReader(PatchDetector(), ColourEmbedder()),
        gallery_of(red=RED, green=GREEN),
        rule=lambda: RULE,
        tracker=Tracker(),
        min_frames=3,
        max_frames=5,
        rejected=lambda who: faces.get(who, nobody_rejected(who)),
    )
    changes = play(path, [*walking(NEAR_RED, 9), *[picture()] * 15, *walking(RED, 9)])
    assert [str(c.decision.outcome) for _, c in changes if c.decision is not None] == ["ambiguous", "known"]
    assert [c.decision.reason for _, c in changes if c.decision is not None] == ["rejected", "match"]


def test_a_stranger_is_reported_unknown_once_when_all_frames_are_in() -> None:
    path, embedder = path_with(gallery_of(red=RED, green=GREEN))
    assert outcomes(play(path, walking(BLUE, 20))) == [(4, 1, "unknown")]
    assert embedder.chips_seen == 5


def test_a_short_visit_is_decided_when_it_ends() -> None:
    path, _ = path_with(gallery_of(red=RED))
    images = [*walking(RED, 2), *[picture()] * 15]
    assert outcomes(play(path, images)) == [(12, 1, "known")]


def test_look_alikes_are_ambiguous_and_never_picked() -> None:
    nearly = (RED[0], RED[1] + 3, RED[2])
    path, _ = path_with(gallery_of(red=RED, twin=nearly))
    changes = play(path, walking(RED, 8))
    assert outcomes(changes) == [(4, 1, "ambiguous")]
    assert changes[0][1].decision is not None and changes[0][1].decision.outcome is Outcome.AMBIGUOUS


def test_a_track_can_rise_from_unknown_to_known_when_somebody_is_enrolled_but_never_falls_back() -> None:
    gallery = gallery_of(green=GREEN)
    path, _ = path_with(gallery)
    growing = [picture((RED, (20, 20, 70 + 6 * i))) for i in range(10)]
    first = [(i, c) for i, c in play_partly(path, growing[:5])]
    gallery.upsert([GalleryEntry("t-red", "red", vector_of(RED))])
    later = [(i, c) for i, c in play_partly(path, growing[5:], start=5)]
    assert outcomes(first) == [(4, 1, "unknown")]
    assert outcomes(later) == [(5, 1, "known")]


def play_partly(path: LivePath, images: list[RGBImage], start: int = 0) -> list[tuple[int, TrackChange]]:
    changes = []
    for index, image in enumerate(images, start=start):
        result = path.process(Frame(image, at(index * 0.1), index, "camera-1"))
        changes += [(index, change) for change in result.changes]
    return changes


def test_one_bad_frame_neither_punches_nor_spoils() -> None:
    path, _ = path_with(gallery_of(red=RED, green=GREEN))
    images = walking(RED, 6)
    images[1] = picture((GREEN, (26, 60, 80)))
    changes = play(path, images)
    assert [c.decision.best.identity_id for _, c in changes if c.decision and c.decision.best] == ["red"]


def test_faces_too_small_to_judge_end_as_a_track_without_a_decision() -> None:
    path, embedder = path_with(gallery_of(red=RED))
    changes = play(path, [picture((RED, (20 + i, 60, 20))) for i in range(5)])
    assert outcomes(changes) == [(5, 1, "none")]
    assert embedder.chips_seen == 0


def test_an_empty_gallery_knows_nobody() -> None:
    path, _ = path_with(ExactGallery("colours", 8))
    changes = play(path, walking(RED, 6))
    assert outcomes(changes) == [(4, 1, "unknown")]
    assert changes[0][1].decision is not None and changes[0][1].decision.reason == "empty_gallery"


def test_several_people_in_one_frame_are_kept_apart() -> None:
    path, _ = path_with(gallery_of(red=RED, green=GREEN))
    images = [picture((RED, (10 + 4 * i, 20, 70)), (GREEN, (220 - 4 * i, 150, 70))) for i in range(6)]
    found = {c.decision.best.identity_id for _, c in play(path, images) if c.decision and c.decision.best}
    assert found == {"red", "green"}


def test_reading_many_images_is_one_batch_and_keeps_their_order() -> None:
    embedder = ColourEmbedder()
    reader = FaceReader(PatchDetector(), embedder)
    images = [picture((RED, (10, 10, 90))), picture(), picture((GREEN, (40, 40, 90)), (BLUE, (180, 40, 90)))]
    faces = reader.detect(images)
    vectors = reader.embed(images, faces)
    assert [len(v) for v in vectors] == [1, 0, 2]
    expected = [vector_of(RED), vector_of(GREEN), vector_of(BLUE)]
    np.testing.assert_allclose(np.concatenate(vectors), expected, atol=1e-5)
    assert embedder.chips_seen == 3


def test_no_images_and_no_faces_give_nothing() -> None:
    reader = FaceReader(PatchDetector(), ColourEmbedder())
    assert reader.embed([], []) == []
    assert [v.shape for v in reader.embed([picture()], [[]])] == [(0, 8)]
