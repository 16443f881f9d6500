"""The configuration.

Precedence: flag, then environment ``ATTENDANCE_<SECTION>__<KEY>``, then file, then what the ledger holds, then default.
"""

from attendance.config.kiosk import EVERY_KIOSK, KIOSK_ID, KioskSection
from attendance.config.layers import Layer
from attendance.config.loading import Problem, check, load, scalar, unfit_for_ledger
from attendance.config.sections import CameraSection, Settings, SiteSection, StoreSection
from attendance.config.service import ServiceSection

__all__ = [
    "EVERY_KIOSK",
    "KIOSK_ID",
    "CameraSection",
    "KioskSection",
    "Layer",
    "Problem",
    "ServiceSection",
    "Settings",
    "SiteSection",
    "StoreSection",
    "check",
    "load",
    "scalar",
    "unfit_for_ledger",
]
