"""Changing everybody's templates at once: made anew beside the present ones, put into force with one write."""

from attendance.swap.crops import KeptCrops
from attendance.swap.preparing import Prepared, Unmade, Waiting, finish, lacking, prepare
from attendance.swap.rereading import Picture, Rereader
from attendance.swap.rotating import Rotator
from attendance.swap.scores import PersonScores, ScoreChange, changes_of, scores_of
from attendance.swap.sources import Photos
from attendance.swap.switching import switch
from attendance.swap.turning import Turner, TurningPath

__all__ = [
    "KeptCrops",
    "PersonScores",
    "Photos",
    "Picture",
    "Prepared",
    "Rereader",
    "Rotator",
    "ScoreChange",
    "Turner",
    "TurningPath",
    "Unmade",
    "Waiting",
    "changes_of",
    "finish",
    "lacking",
    "prepare",
    "scores_of",
    "switch",
]
