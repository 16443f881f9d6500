"""The configuration. Precedence: flag, then environment ``ATTENDANCE_<SECTION>__<KEY>``, then file, then default."""

from attendance.config.loading import Problem, check, load
from attendance.config.sections import CameraSection, Settings, SiteSection, StoreSection
from attendance.config.service import ServiceSection

__all__ = ["CameraSection", "Problem", "ServiceSection", "Settings", "SiteSection", "StoreSection", "check", "load"]
