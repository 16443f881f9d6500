"""Enrolment: photos of people into the ledger and the gallery, and what keeps bad data out of it."""

from attendance.enrol.batches import Batch, Undone, batches_of, undo
from attendance.enrol.duplicates import DuplicatePolicy
from attendance.enrol.enroller import Enroller
from attendance.enrol.probes import evaluate_probes
from attendance.enrol.values import (
    SINGLE_SOURCE,
    EnrolPolicy,
    EnrolResult,
    PersonPhotos,
    Probe,
    ProbeResult,
    Refusal,
    SuspectedDuplicate,
    template_id,
)
from attendance.enrol.workers import PooledReader, Unit, WorkerPool

__all__ = [
    "SINGLE_SOURCE",
    "Batch",
    "DuplicatePolicy",
    "EnrolPolicy",
    "EnrolResult",
    "Enroller",
    "PersonPhotos",
    "PooledReader",
    "Probe",
    "ProbeResult",
    "Refusal",
    "SuspectedDuplicate",
    "Undone",
    "Unit",
    "WorkerPool",
    "batches_of",
    "evaluate_probes",
    "template_id",
    "undo",
]
