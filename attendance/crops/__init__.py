"""Crops of enrolled faces, kept encrypted where that was asked for, so that another model can be given to everybody."""

from attendance.crops.cutting import Crop, cut, decoded, encoded
from attendance.crops.keys import CropKeys, add_crop_key, keys_of_text, read_crop_keys
from attendance.crops.store import CropStore

__all__ = [
    "Crop",
    "CropKeys",
    "CropStore",
    "add_crop_key",
    "cut",
    "decoded",
    "encoded",
    "keys_of_text",
    "read_crop_keys",
]
