"""Builds objects from configuration: the only place that knows which class stands behind which setting."""

from __future__ import annotations

import getpass
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

from attendance.config import CameraSection, Settings
from attendance.errors import (
    GalleryDamagedError,
    LedgerError,
    LedgerUnavailableError,
    ModelError,
    ModelMismatchError,
    UsageError,
)
from attendance.ledger.opening import ledger_url, open_ledger, registered_zones
from attendance.ledger.port import Ledger
from attendance.search.chroma import ChromaStore, GraphSettings, ServerStore
from attendance.search.port import Gallery, GalleryStore
from attendance.space import Space, mismatch
from attendance.types import GalleryEntry, Person, Template

# What brings PyTorch, OpenCV or SciPy along is imported where it is used: most commands never need it.
if TYPE_CHECKING:
    from attendance.crops import CropKeys, CropStore
    from attendance.detect.port import Detector
    from attendance.embed.card import ModelCard
    from attendance.embed.port import Embedder
    from attendance.enrol import EnrolPolicy
    from attendance.faces import FaceRule
    from attendance.kept_mirror import MirrorKeeper
    from attendance.kiosk import Place
    from attendance.ledger.reaching import ReachingLedger
    from attendance.mirror import Mirror, MirrorFollower
    from attendance.operating import RuleKeeper
    from attendance.pipeline import FaceReader, LivePath
    from attendance.protect import TemplateKey
    from attendance.rulebook import Rulebook
    from attendance.stills import StillReader
    from attendance.telemetry import Telemetry
    from attendance.track import Tracker
    from attendance.zoo.catalogue import ZooModel
    from attendance.zoo.download import Patience
    from attendance.zoo.folder import ModelsFolder

_log = logging.getLogger(__name__)

LIVE_TIMEOUT_S = 1.0
"""How long a live lookup waits for the Chroma server before the mirror answers."""

READER_WAIT_S = 2.0
"""How long a reader waits for the gallery's lock before it goes on with the ledger alone."""


class App:
    """One configuration's objects, each made when first asked for and closed together."""

    judges_pictures = True
    """Whether faces are judged by sharpness and light where the configured limits ask for it."""

    keeps_mirror = True
    """Whether the last mirror is written to disk at the end; not by an app whose place another one has taken."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger_timeout_s = 10.0
        self._exit = ExitStack()
        self._rules: dict[Gallery, RuleKeeper] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.close()

    @property
    def store(self) -> Path:
        """The store's folder."""
        return self.settings.store.path

    @property
    def models_dir(self) -> Path:
        """Where downloaded and cached models lie."""
        return self.store / "models"

    @cached_property
    def catalogue(self) -> Mapping[str, ZooModel]:
        """The models that can be fetched, by id."""
        from attendance.zoo.catalogue import packaged_catalogue

        return packaged_catalogue()

    @property
    def patience(self) -> Patience:
        """How long a download waits for its server."""
        from attendance.zoo.download import Patience

        return Patience()

    @cached_property
    def models(self) -> ModelsFolder:
        """The models in the store."""
        from attendance.zoo.folder import ModelsFolder

        return ModelsFolder(self.models_dir)

    @cached_property
    def telemetry(self) -> Telemetry:
        """What this program tells Prometheus; one for everything in it."""
        from attendance.telemetry import Telemetry

        return Telemetry()

    def serve_metrics(self) -> int | None:
        """Serve ``telemetry`` on loopback until the app is closed, where ``metrics.port`` says so; the port."""
        from attendance.telemetry import MetricsServer

        if self.settings.metrics.port == 0:
            return None
        return self._exit.enter_context(MetricsServer(self.telemetry, port=self.settings.metrics.port)).port

    @cached_property
    def noted(self) -> Space | None:
        """Which templates the ledger says are in force; None where it was never noted.

        Where it cannot be read, the last mirror's: whoever needs the ledger itself is told by it what is wrong.
        """
        if not self.has_ledger:
            return None
        try:
            text = self.ledger.template_revision().space
        except LedgerError:
            from attendance.kept_mirror import load_kept

            kept = load_kept(self.store / "mirror")
            text = "" if kept is None else kept.space
        return Space.of(text) if text else None

    @cached_property
    def space(self) -> Space:
        """Which templates are in force here: as noted, or else the configured model's, with the configured key.

        People who are enrolled already without a key stay so until their templates are rotated.
        """
        if self.noted is not None:
            return self.noted
        if not self.template_keys:
            return Space(self.card.id)
        if self.has_ledger and any(person.templates for person in self.ledger.people()):
            _log.warning("model.template_key_file protects nothing yet: run `python -m attendance protect rotate`")
            return Space(self.card.id)
        if len(self.template_keys) > 1:
            raise UsageError("model.template_key_file must hold one key where nobody is enrolled yet: keep one")
        return Space(self.card.id, self.template_keys[0].fingerprint)

    @cached_property
    def card(self) -> ModelCard:
        """The card of the model whose templates are in force, or of the configured one where that was never noted."""
        from attendance.embed.catalogue import find_card

        configured = self.settings.model.id
        if self.noted is None:
            return find_card(configured, self.models_dir)
        if self.noted.model != configured and "id" in self.settings.model.model_fields_set:
            _log.warning("model.id says %s, the ledger's templates are of %s: that it is", configured, self.noted.model)
        try:
            return find_card(self.noted.model, self.models_dir)
        except ModelError as error:
            raise ModelError(
                f"the ledger's templates are of model {self.noted.model}, which cannot be used here: {error}"
            ) from error

    @cached_property
    def template_keys(self) -> tuple[TemplateKey, ...]:
        """The keys of the configured file; none where none is configured."""
        from attendance.protect import read_keys

        path = self.settings.model.template_key_file
        return () if path is None else read_keys(path)

    def template_key(self, space: Space) -> TemplateKey | None:
        """The key of a space's templates, None where there is none; ModelError where it is not held here."""
        from attendance.protect import key_named

        return key_named(self.template_keys, space.key, path=self.settings.model.template_key_file)

    def turned(self, space: Space) -> App:
        """An app for other templates of the same ledger, closed with this one.

        What this one has opened or loaded is shared, but for the model, the key file and the lookups.
        """
        other = type(self)(self.settings)
        other.noted, other.ledger_timeout_s = space, self.ledger_timeout_s
        for name in ("telemetry", "time_zones", "ledger", "reaching_ledger", "detector"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return self._exit.enter_context(other)

    @cached_property
    def detector(self) -> Detector:
        """The configured detector."""
        from attendance.detect.registry import DetectorChoice, make_detector

        detect = self.settings.detect
        choice = DetectorChoice(
            name=detect.name,
            model=detect.model,
            min_face_px=detect.min_face_px,
            min_score=detect.min_score,
            thresholds=(detect.threshold_pnet, detect.threshold_rnet, detect.threshold_onet),
            scale_factor=detect.scale_factor,
            device=self.embedder.device,
            threads=self.settings.model.threads,
            precision=self.settings.model.precision,
            graphs=self.settings.model.launch == "graphs",
        )
        return make_detector(choice, read=self.models.read)

    @cached_property
    def embedder(self) -> Embedder:
        """The configured model, loaded."""
        from attendance.embed.registry import load_embedder

        model = self.settings.model
        return load_embedder(
            self.card,
            device=model.device,
            threads=model.threads,
            models_dir=self.models_dir,
            precision=model.precision,
            graphs=model.launch == "graphs",
        )

    @cached_property
    def reader(self) -> FaceReader:
        """Detector and embedder together; what the embedder gives is turned by the key, if there is one."""
        from attendance.pipeline import FaceReader

        return FaceReader(self.detector, self.protected_embedder, timed=self.telemetry.timed)

    @cached_property
    def protected_embedder(self) -> Embedder:
        """The model as everything stored and looked up knows it: turned by the key, if there is one."""
        if not self.space.key:
            return self.embedder
        from attendance.protect import protected

        return protected(self.embedder, self.template_key(self.space))

    def share_processor(self) -> None:
        """Let the calling thread, which is to do all the vision, have the one pool of ``model.threads``.

        OpenCV works in whichever thread calls it: a pool of its own would slow torch's, which waits spinning.
        """
        import cv2

        cv2.setNumThreads(1)
        torch: Any = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(self.settings.model.threads)

    @property
    def has_ledger(self) -> bool:
        """Whether there is a ledger: a server is configured, or a file lies in the store."""
        section = self.settings.ledger
        return bool(section.url) or section.url_file is not None or (self.store / "ledger.sqlite").exists()

    @property
    def _ledger_url(self) -> str:
        section = self.settings.ledger
        return ledger_url(section.url, section.url_file)

    @cached_property
    def time_zones(self) -> dict[str, ZoneInfo]:
        """Site id to time zone: as configured, or where no sites are configured, as the ledger registers them."""
        zones = self.settings.time_zones()
        if "sites" in self.settings.model_fields_set:
            return zones
        found = registered_zones(self._ledger_url, self.store / "ledger.sqlite", timeout_s=self.ledger_timeout_s)
        return {**zones, **found}

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, opened; made where there is none."""
        ledger = open_ledger(
            self._ledger_url,
            self.store / "ledger.sqlite",
            cooldown_s=self.settings.attendance.cooldown_s,
            time_zones=self.time_zones,
            timeout_s=self.ledger_timeout_s,
        )
        self._exit.callback(ledger.close)
        return ledger

    @cached_property
    def reaching_ledger(self) -> ReachingLedger:
        """The ledger of a running kiosk, opened when it can be reached."""
        from attendance.ledger.reaching import ReachingLedger

        reaching = ReachingLedger(lambda: self.ledger)
        self._exit.callback(reaching.close)
        return reaching

    @property
    def gallery_store(self) -> GalleryStore:
        """Where the gallery is kept: embedded Chroma, opened under its lock, or a Chroma server."""
        if self.settings.search.url:
            return self._server_store(self.settings.search.timeout_s)
        return self._embedded_store(self.settings.search.lock_wait_s)

    def _embedded_store(self, lock_wait_s: float) -> ChromaStore:
        return ChromaStore(
            self.store / "chroma", self.space.text, self.card.dimension, self._graph, lock_wait_s=lock_wait_s
        )

    def _server_store(self, timeout_s: float) -> ServerStore:
        from attendance.gallery import owner_of

        search = self.settings.search
        return ServerStore(
            search.url,
            self.space.text,
            self.card.dimension,
            collection=search.collection,
            owner=owner_of(self.ledger) if self.has_ledger else "",
            settings=self._graph,
            timeout_s=timeout_s,
        )

    @property
    def _graph(self) -> GraphSettings:
        search = self.settings.search
        return GraphSettings(
            max_neighbors=search.max_neighbors, ef_construction=search.ef_construction, ef_search=search.ef_search
        )

    @property
    def has_gallery(self) -> bool:
        """Whether a gallery was ever made; a missing one is made by the first writer."""
        return self.gallery_store.exists() if self.settings.search.url else (self.store / "chroma").exists()

    @contextmanager
    def open_gallery(self, store: GalleryStore) -> Iterator[Gallery]:
        """The stored gallery for a reader; GalleryDamagedError also where other templates are in force by now."""
        try:
            with store.open() as gallery:
                yield gallery
        except ModelMismatchError as error:
            if self.noted is None:
                raise
            raise GalleryDamagedError(
                f"the gallery is not yet that of {self.space.text}, which is in force: run `gallery rebuild`"
            ) from error

    @contextmanager
    def writing(self) -> Iterator[Gallery]:
        """The gallery for a writer, in agreement with the ledger; held until the context ends."""
        from attendance.gallery import open_for_writing, owner_of

        self._note_key()
        if self.settings.search.url:
            owner_of(self.ledger, create=True)
        with open_for_writing(self.ledger, self.gallery_store) as gallery:
            yield gallery
            self.sweep_crops()

    @property
    def keep_crop(self) -> Callable[[Template, bytes], None] | None:
        """Keeps the crop of a template that was enrolled; None where none are kept."""
        if self.settings.crops.keep == "off":
            return None
        from attendance.gallery import owner_of

        crops = self.crops
        # A key that cannot be used ends the run before anybody is enrolled.
        if crops.keys and not crops.claim(owner_of(self.ledger, create=True)):
            raise UsageError(
                f"the crops in {self.store / 'crops'} are those of another ledger: move the folder away, or use "
                "another --store"
            )
        return crops.put

    @cached_property
    def crops(self) -> CropStore:
        """The kept crops of faces; the key is read when one is written or read."""
        from attendance.crops import CropStore

        return CropStore(self.store / "crops", lambda: self._crop_keys)

    @cached_property
    def _crop_keys(self) -> CropKeys:
        from attendance.crops import keys_of_text, read_crop_keys

        section = self.settings.crops
        text = section.key.get_secret_value()
        if text:
            return keys_of_text(text, origin="ATTENDANCE_CROPS__KEY")
        if section.key_file is None:
            raise UsageError(
                "the kept crops are encrypted, and no key is given: name the file that holds it as crops.key_file, or "
                "give ATTENDANCE_CROPS__KEY"
            )
        return read_crop_keys(section.key_file, store=self.store)

    def sweep_crops(self, *, always: bool = False) -> int:
        """Remove the crops of whoever, and of which photo, is not in the ledger any more; how many.

        Nobody looks where no template changed since the last time, unless ``always``.
        """
        from attendance.gallery import owner_of

        # Crops bring OpenCV along, which no store without them needs for this.
        if not (self.store / "crops").is_dir():
            return 0
        crops = self.crops
        if not crops.claim(owner_of(self.ledger)):
            _log.warning("the crops in %s are those of another ledger, and are left as they are", self.store / "crops")
            return 0
        revision = self.ledger.template_revision().revision
        return crops.sweep(self.ledger.people, revision=revision) if always or crops.swept != revision else 0

    def _note_key(self) -> None:
        """Have the ledger say by which key the first templates are protected, so that no other one is taken later."""
        if self.noted is not None or not self.space.key:
            return
        if not self.ledger.put_in_force(self.space.text, expected=""):
            raise ModelMismatchError(mismatch(self.ledger.template_revision().space, self.space.text))
        self.noted = self.space

    def rebuild_gallery(self) -> int:
        """Make the gallery anew from the ledger; its templates."""
        from attendance.gallery import owner_of, rebuild

        if self.settings.search.url:
            owner_of(self.ledger, create=True)
        return rebuild(self.ledger, self.gallery_store)

    def mirror(self) -> Mirror:
        """The exact mirror of what is enrolled, as it is now; with a Chroma server it is read from the ledger alone."""
        from attendance.mirror import load_mirror

        return load_mirror(
            self.ledger,
            None if self.settings.search.url else lambda: self.open_gallery(self._embedded_store(READER_WAIT_S)),
            card_id=self.space.text,
            dimension=self.card.dimension,
            max_templates=self.settings.search.mirror_max_templates,
        )

    def follower(self, *, keeper: MirrorKeeper | None = None) -> MirrorFollower:
        """The mirror, following the ledger until the app is closed.

        With a ``keeper`` the last mirror on disk serves where the ledger is away, and is kept up from then on.
        """
        from attendance.mirror import MirrorFollower

        try:
            # Asked through what the kiosk asks later, so that it knows from the start whether the ledger is there.
            self.reaching_ledger.template_revision()
            mirror = self.mirror()
        except LedgerUnavailableError as error:
            kept = None if keeper is None else keeper.load()
            if kept is None:
                raise
            _log.warning("recognising from the mirror on disk, because: %s", error)
            mirror = kept.mirror(self.space.text, self.card.dimension)
        follower = MirrorFollower(
            self.reaching_ledger,
            mirror,
            follow_s=self.settings.search.follow_s,
            keep=(lambda people, revision: None) if keeper is None else keeper.keep,
        )
        if keeper is not None:
            keeper.keep(follower.people, follower.revision)
            # A change that came too soon after the last one is kept at the end.
            self._exit.callback(
                lambda: keeper.keep(follower.people, follower.revision, at_once=True) if self.keeps_mirror else None
            )
        follower.start()
        self._exit.callback(follower.stop)
        return follower

    def live_gallery(self, follower: MirrorFollower) -> Gallery:
        """Who answers live lookups: the follower's mirror, or the Chroma server with the mirror behind it."""
        from attendance.gallery import entries_of
        from attendance.search.served import ServedGallery

        search = self.settings.search
        if search.backend != "chroma":
            return follower.mirror
        card_id = self.space.text

        def templates_of(identity_id: str) -> list[GalleryEntry]:
            person = follower.people.get(identity_id)
            try:
                return [] if person is None else entries_of(person, card_id)
            except ModelMismatchError:
                # The mirror leaves them out as well, and the follower said so.
                return []

        served = ServedGallery(
            self._server_store(min(search.timeout_s, LIVE_TIMEOUT_S)).open,
            follower.mirror,
            templates_of=templates_of,
            cross_check=search.cross_check,
            on_check=self.telemetry.recall,
        )
        served.start()
        self._exit.callback(served.stop)
        return served

    def warm_up(self) -> float:
        """Load the networks and do a first frame's work on noise, so that nobody waits for it later; its seconds.

        The first time on a machine the kernels are compiled, which takes some twenty seconds.
        """
        from attendance.search.exact import ExactGallery
        from attendance.warming import warm_up

        began_s = time.perf_counter()
        gallery = ExactGallery(self.space.text, self.card.dimension)
        try:
            warm_up(self.reader, self.live_path(gallery))
        finally:
            self._rules.pop(gallery, None)
        took_s = time.perf_counter() - began_s
        _log.info("warmed up in %.1f s", took_s)
        return took_s

    @cached_property
    def rulebook(self) -> Rulebook:
        """What this configuration and the card in force demand."""
        from attendance.rulebook import Rulebook

        return Rulebook(self.settings, lambda: self.card)

    def rule(self, gallery: Gallery) -> RuleKeeper:
        """The open-set rule for a gallery, computed anew when the gallery changes; one for all who ask for it."""
        from attendance.operating import RuleKeeper

        if gallery not in self._rules:
            self._rules[gallery] = RuleKeeper(gallery, self.rulebook.measured(), self.rulebook.chosen())
        return self._rules[gallery]

    def tracker(self) -> Tracker:
        """What follows the faces of one camera."""
        from attendance.track import Tracker

        return Tracker(min_iou=self.settings.track.min_iou, max_gap_s=self.settings.track.max_gap_s)

    def live_path(
        self,
        gallery: Gallery,
        *,
        people: Callable[[], Mapping[str, Person]] | None = None,
        tracker: Tracker | None = None,
    ) -> LivePath:
        """The path for one camera; ``people`` tells whom the gallery knows, with the faces that are not theirs.

        ``tracker``: another path's of the same camera, which has ended, so that its numbers go on.
        """
        from attendance.pipeline import LivePath
        from attendance.rejected import nobody_rejected, rejected_of

        track = self.settings.track
        return LivePath(
            self.reader,
            gallery,
            rule=self.rule(gallery),
            tracker=self.tracker() if tracker is None else tracker,
            quality_level=self.rulebook.quality_limits().live,
            # A pass has few frames: judged by light and sharpness, walk-pasts lost more people than they kept out.
            judge_pictures=self.judges_pictures and self.settings.quality.level == "strict",
            min_frames=track.min_frames,
            max_frames=track.max_frames,
            detect_every=track.detect_every,
            whole_every_s=track.whole_every_s,
            rejected=nobody_rejected if people is None else rejected_of(people, self.space.text),
        )

    def stills(
        self,
        *,
        rule: FaceRule,
        strict: bool,
        quality_level: str | None = None,
        load: Callable[[], FaceReader] | None = None,
    ) -> StillReader:
        """A reader of photos; ``strict`` applies what enrolment demands, by ``quality_level`` or the configured one.

        The networks come from ``load``, by default ``reader``, and only when there is a photo to read.
        """
        from attendance.stills import StillOptions, StillReader

        enrol = self.settings.enrol
        limits = self.rulebook.quality_limits(quality_level)
        options = StillOptions(
            rule=rule,
            strict=strict,
            quality_level=limits,
            judge_pictures=self.judges_pictures and limits.judges_pictures,
            max_pixels=enrol.max_pixels,
            max_side_px=enrol.max_side_px,
            batch_size=self.settings.model.batch_size,
            # By another gate than the configured one photos are compared, and nobody is enrolled.
            keep_crops=strict and quality_level is None and self.settings.crops.keep != "off",
        )
        return StillReader(load if load is not None else lambda: self.reader, options)

    def enrol_policy(self, *, source_label: str, prune: bool = False, dry_run: bool = False) -> EnrolPolicy:
        """What enrolment demands; a template is suspected to be somebody else's from `threshold` on, or by standing."""
        from attendance.enrol import EnrolPolicy

        settings = self.settings
        people = len(self.ledger.person_versions())
        return EnrolPolicy(
            consent=settings.consent.policy,
            attested_by=self.attested_by(),
            duplicates=settings.enrol.duplicates,
            duplicate_threshold=self.rulebook.duplicate_threshold(people),
            source_label=source_label,
            prune=prune,
            dry_run=dry_run,
            standing=self.rulebook.standing(),
            outliers=self.rulebook.outlier_limits(),
            max_templates=settings.enrol.max_templates,
        )

    def camera(self, camera_id: str | None) -> CameraSection:
        """The configured camera to run: the named one, or the only one."""
        cameras = {camera.id: camera for camera in self.settings.cameras}
        if camera_id is not None:
            if camera_id not in cameras:
                raise UsageError(f"--camera {camera_id}: the configuration has {', '.join(sorted(cameras))}")
            return cameras[camera_id]
        if len(cameras) > 1:
            raise UsageError(
                f"the configuration has {len(cameras)} cameras: name one with --camera, "
                f"one of {', '.join(sorted(cameras))}"
            )
        return self.settings.cameras[0]

    def cameras(self, camera_id: str | None) -> tuple[CameraSection, ...]:
        """The configured cameras to run: the named one, or all."""
        return self.settings.cameras if camera_id is None else (self.camera(camera_id),)

    def place(self, camera: CameraSection) -> Place:
        """Where a camera stands and how it counts."""
        from attendance.kiosk import Place

        return Place(
            camera.id,
            camera.site,
            camera.direction,
            self.time_zones[camera.site],
        )

    def attested_by(self) -> str:
        """Who vouches for consent: as configured, else the operating system's user."""
        configured = self.settings.consent.attested_by
        if configured:
            return configured
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return f"uid {os.getuid()}"
