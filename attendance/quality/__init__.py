"""Step 3b: is this face good enough to enrol or to decide by?"""

from attendance.quality.judging import Finding, Quality, judge
from attendance.quality.limits import LEVELS, Limits, limits_of
from attendance.quality.picture import Picture, measure_picture
from attendance.quality.pose import Pose, measure_pose

__all__ = [
    "LEVELS",
    "Finding",
    "Limits",
    "Picture",
    "Pose",
    "Quality",
    "judge",
    "limits_of",
    "measure_picture",
    "measure_pose",
]
