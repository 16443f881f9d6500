"""Face attendance: enrol people from photos, recognise them at a camera, keep attendance on record."""

__version__ = "0.1.0"
