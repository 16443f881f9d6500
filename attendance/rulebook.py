"""What the configuration and the model's card demand of a face, a match and an enrolment."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from attendance.config import Settings
from attendance.consistency import OutlierLimits
from attendance.duplicates import Standing, least_score
from attendance.embed.card import ModelCard
from attendance.operating import Chosen, Measured
from attendance.quality import Limits, limits_of
from attendance.threshold import VERIFY_FAR, operating_threshold, threshold_at


class Rulebook:
    """The demands of one configuration and one card.

    Args:
        settings: the configuration.
        find_card: finds the card when it is first needed; ModelError where there is none.
    """

    def __init__(self, settings: Settings, find_card: Callable[[], ModelCard]) -> None:
        self._settings = settings
        self._find_card = find_card

    @cached_property
    def _card(self) -> ModelCard:
        return self._find_card()

    def quality_limits(self, level: str | None = None) -> Limits:
        """What a face must reach: the limits of ``level``, or of the configured one with what was changed of them."""
        section = self._settings.quality
        return limits_of(section.level, section.changed) if level is None else limits_of(level)

    def measured(self) -> Measured:
        """What of the card an operating point is made of, with the configured margin where there is one."""
        margin = self._settings.decide.margin
        card = self._card
        return Measured(
            margin=card.margin if margin is None else margin,
            thresholds=card.thresholds,
            person_thresholds=card.person_thresholds,
            strangers=card.strangers,
        )

    def chosen(self) -> Chosen:
        """What the operator chose of the operating point."""
        decide = self._settings.decide
        return Chosen(decide.target_fpir, decide.threshold, self._settings.track.min_frames)

    def threshold(self, people: int, templates: int = 0) -> float:
        """The cosine from which on two people of a gallery of so many may be one: the fixed one, or by the target FPIR.

        It is that of the nearest person alone, without the lead that a match is judged by as well (`App.rule`). Where
        people have several templates the card's thresholds for mean directions hold, if it has them.
        """
        decide = self._settings.decide
        if decide.threshold is not None:
            return decide.threshold
        means = self._card.person_thresholds
        thresholds = means if means is not None and templates > people else self._card.thresholds
        return operating_threshold(thresholds, target_fpir=decide.target_fpir, people=people)

    def verify_threshold(self) -> float:
        """The cosine from which on two photos show one person: the card's one-to-one threshold at `VERIFY_FAR`."""
        return threshold_at(self._card.thresholds, VERIFY_FAR)

    def outlier_limits(self) -> OutlierLimits | None:
        """How near a photo must be to a person's others; None: nobody looks."""
        enrol, card = self._settings.enrol, self._card
        if enrol.outliers == "off":
            return None
        pair = threshold_at(card.thresholds, enrol.outlier_far)
        means = card.person_thresholds
        return OutlierLimits(pair, pair if means is None else threshold_at(means, enrol.outlier_far))

    def standing(self) -> Standing | None:
        """How far a newcomer's nearest person stands out who is taken to be the newcomer; None: not measured.

        A fixed threshold of the configuration takes its place, as it does for the rule.
        """
        tail = self._card.duplicates
        if tail is None or self._settings.decide.threshold is not None:
            return None
        least = least_score(tail.scores, self._settings.enrol.duplicate_rate)
        return Standing(
            tail.lead_weight, tail.lead_cap, tail.crowd_weight, tail.from_people, least, tail.everybody_weight
        )

    def duplicate_threshold(self, people: int) -> float:
        """The cosine from which on two people of so many may be one, whether they stand out or not.

        Where standing out tells (`standing`), likeness alone must reach what mean directions need: less would raise
        more false alarms than were asked for, and find nobody else.
        """
        standing = self.standing()
        stricter = standing is not None and people > standing.from_people
        return self.threshold(people, templates=people + 1 if stricter else 0)
