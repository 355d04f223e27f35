"""The events as typed dictionaries. Made by schemas/generate.py; change the schemas instead."""

# ruff: noqa: E501

from datetime import datetime
from typing import TypedDict


class AnalysisDeadlineReached(TypedDict):
    """Stages that will not say anything any more of an analysis: a safety net, so that every photo ends."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    revision: int
    """Revision of the analysis, from 1; a repair makes the next one."""
    policy_revision: int
    """Revision of the confidence policy that routes this analysis."""
    lane: str
    """high, default, batch or learning."""
    stages: list[str]
    """Those that count as failed: detector, ocr, embedder."""
    reached_at: datetime
    """When."""


class BatchChunkCounted(TypedDict):
    """All ends seen so far among 4,096 neighbouring indices of an import; replaces what was said of that chunk before."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    batch_id: str
    """UUID of the import."""
    chunk: int
    """index // 4096."""
    auto_labeled: int
    """Outcomes."""
    suggested: int
    """Outcomes."""
    review: int
    """Outcomes."""
    rejected: int
    """Refused files."""
    cancelled: int
    """Cancelled."""
    partial: int
    """Of the outcomes: those with a failed stage."""
    counted_at: datetime
    """When the last of them ended."""


class BatchCompleted(TypedDict):
    """Every file of the import has its end: found = duplicates + rejected + accepted."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    batch_id: str
    """UUID of the import."""
    found: int
    """Files seen."""
    duplicates: int
    """Files whose photo was known."""
    accepted: int
    """Files with an outcome or cancelled."""
    auto_labeled: int
    """Outcomes."""
    suggested: int
    """Outcomes."""
    review: int
    """Outcomes."""
    rejected: int
    """Refused files."""
    cancelled: int
    """Cancelled."""
    partial: int
    """Of the outcomes: those with a failed stage."""
    started_at: datetime
    """When the import began."""
    completed_at: datetime
    """When the last file ended."""


class BatchIntake(TypedDict):
    """How far the import's scan is; counts only grow, sealed says that they are final."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    batch_id: str
    """UUID of the import."""
    lane: str
    """high, default, batch or learning."""
    state: str
    """started, scanning, sealed or cancelled."""
    found: int
    """Files seen so far."""
    duplicates: int
    """Files whose photo was known."""
    refused: int
    """Files that could not be read and never became a photo."""
    submitted: int
    """Files that will end by an outcome, a rejection or a cancellation."""
    started_at: datetime
    """When the import began."""
    occurred_at: datetime
    """When this was so."""


class BatchPhotoEnded(TypedDict):
    """One submitted file of an import has its end."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    batch_id: str
    """UUID of the import."""
    index: int
    """Place of the file in the import."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    revision: int
    """Revision of the analysis, from 1; a repair makes the next one."""
    end: str
    """auto_labeled, suggested, review, rejected or cancelled."""
    partial: bool
    """Whether a stage failed."""
    ended_at: datetime
    """When."""


class BatchProgressed(TypedDict):
    """Where an import stands; the last record of a key is what counts."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    batch_id: str
    """UUID of the import."""
    found: int
    """Files seen."""
    duplicates: int
    """Files whose photo was known."""
    accepted: int
    """Files with an outcome or cancelled."""
    auto_labeled: int
    """Outcomes."""
    suggested: int
    """Outcomes."""
    review: int
    """Outcomes."""
    rejected: int
    """Refused files."""
    cancelled: int
    """Cancelled."""
    partial: int
    """Of the outcomes: those with a failed stage."""
    pending: int
    """Submitted files without an end."""
    sealed: bool
    """Whether the scan is finished."""
    started_at: datetime
    """When the import began."""
    progressed_at: datetime
    """When this was so."""


class BatchTicked(TypedDict):
    """Time has passed: an import, or a chunk of it, that is over for long need not be kept in the aggregator's tables."""

    batch_id: str
    """UUID of the import."""
    chunk: int | None
    """index // 4096, where it is about one of its chunks."""
    occurred_at: datetime
    """How late it is."""


class ModelFile(TypedDict):
    path: str
    """Below the checkpoint's folder, / between parts."""
    uri: str
    """In the object store."""
    sha256: str
    """Of its bytes, hex."""
    byte_size: int
    """Bytes."""


class ModelVersion(TypedDict):
    """All that an engine needs to be this version."""

    version: str
    """What the parts that it makes say as their model_version."""
    engine: str
    """One of the stage's built-in engines."""
    options: dict[str, str]
    """Settings of the stage by name, for this version."""
    files: list[ModelFile]
    """The checkpoint; empty where the engine brings its weights along."""
    built_in: bool
    """Whether it is what services have by their own settings."""


class ModelActivated(TypedDict):
    """Which version of a stage's model holds from now on; the last record of a name holds."""

    name: str
    """The model: its stage's name (detector, ocr or embedder), or head:OWNER:SET of the user's own labels; the key."""
    generation: int
    """Rises with every change of the model, from 1."""
    active: ModelVersion
    """Makes the parts."""
    shadow: ModelVersion | None
    """Looks at photos beside the active one; what it says is compared, never shown."""
    shadow_share: float
    """Share of the photos that the shadow looks at, 0 to 1."""
    activated_by: str
    """Who did it."""
    activated_at: datetime
    """When."""


class ModelReported(TypedDict):
    """Which version of its model a replica has, and what one may be; said at every change and every few seconds."""

    replica: str
    """An engine process: service, host, process id, engine; the key."""
    name: str
    """The model: its stage's name."""
    state: str
    """ready, loading (the version before goes on working), failed (likewise, or nothing does), gone."""
    generation: int
    """Of the model.activated that it obeys with all that it has in hand; 0: its own settings."""
    wanted: int
    """Of the model.activated that it was last told of: what it loads, or failed to."""
    version: str | None
    """That makes its parts; null while there is none."""
    engine: str | None
    """Of that version."""
    shadow: str | None
    """Version that looks beside it."""
    message: str | None
    """Why it failed, for people."""
    reported_at: datetime
    """When."""
    engines: list[str]
    """The stage's built-in engines, by which a version can be registered; empty: not told."""
    options: dict[str, str]
    """What a version may set, by name: the JSON Schema of its value, which is text (lists as JSON)."""
    heads: dict[str, int]
    """Of the embedder: the generation of each head that it obeys with all that it has in hand, by the head's name."""
    heads_failed: dict[str, str]
    """Of the embedder: why a head that it was told of does not label, for people."""


class Control(TypedDict):
    """What an operator has set for a service or one of its lanes. The last one of a target holds; a record without value takes everything back."""

    target: str
    """SERVICE or SERVICE/LANE; the key."""
    rate: str | None
    """Records that may begin, in all its workers together, such as 100/m, 2.5/s or 1000/h; null: as many as can be."""
    paused: bool
    """Whether its work is held back; nothing is lost meanwhile."""
    paused_until: datetime | None
    """When the pause ends by itself; null: when it is taken back."""
    concurrency: int | None
    """Records of a lane that a worker's engines hold at a time, from 1; null: as its settings say."""
    owner: str
    """Who has set it."""
    reason: str
    """Why, for the next person."""
    changed_at: datetime
    """When it was set."""


class LaneLoad(TypedDict):
    """How much of a lane is not done yet, and whether new work of it is taken in. Told when that changes, for those who write into photo.submitted topics themselves."""

    lane: str
    """high, default, batch, learning. The key."""
    state: str
    """open, warned (more than usual waits), closed (hand nothing in)."""
    records: int
    """Photos that wait: outbox, intake and the most loaded stage together."""
    cause: str | None
    """Why it is not open, for people."""
    retry_after_s: int
    """When it may be open again, if it is closed; else 0."""
    warn_at: int
    """Records from which on it is warned of, and below which it opens again."""
    refuse_at: int
    """Records from which on it is closed."""
    measured_at: datetime
    """When."""


class Notice(TypedDict):
    """Something that a person should know. Several workers that find out the same within an hour of the clock say it with the same id; the gateway tells people."""

    notice_id: str
    """UUID of what is said: uuid5 of kind, service, subject and the hour; also the event's id."""
    kind: str
    """dependency_away, dead_letter_surge or first_dead_letter; more may come. Kept for later: training_finished, overload."""
    service: str
    """Who says it."""
    subject: str
    """What it is about: the dependency, the service, the dead letters' code; the key."""
    severity: str
    """info, warning or critical."""
    title: str
    """One line for a person."""
    detail: str
    """What it means and what to do."""
    occurred_at: datetime
    """When."""


class LabelPolicy(TypedDict):
    label: str
    """Name of the label."""
    auto_above: float
    """0..1."""
    review_below: float
    """0..1, not above auto_above."""


class ConfidencePolicy(TypedDict):
    """A revision of the confidence policy: surer than auto_above is labelled without asking, less sure than review_below goes to a person."""

    revision: int
    """From 2; revision 1 is what the aggregator's settings say. The key."""
    auto_above: float
    """0..1."""
    review_below: float
    """0..1, not above auto_above."""
    labels: list[LabelPolicy]
    """Labels with thresholds of their own."""
    reason: str
    """Why it was changed."""
    changed_by: str
    """Who changed it."""
    changed_at: datetime
    """When."""


class WorkerPartition(TypedDict):
    """A partition of a topic."""

    topic: str
    """Its topic."""
    partition: int
    """Its number."""


class WorkerLane(TypedDict):
    """A lane of a worker."""

    lane: str
    """Name of the lane."""
    partitions: list[WorkerPartition]
    """What is assigned to it of the lane."""
    waiting: int
    """Records that it has fetched and not begun."""
    in_engine: int
    """Records that its engines hold."""
    concurrency: int | None
    """Records that they may hold at a time; null: as many as can be."""
    rate: float | None
    """Records a second that may begin in all workers together; null: as many as can be."""
    paused: bool
    """Whether its work is held back."""
    done: int
    """Records that it has finished since it began."""
    failed: int
    """Records among them that it gave up."""


class WorkerTask(TypedDict):
    """A record under way."""

    lane: str
    """Its lane."""
    topic: str
    """Topic of the record."""
    partition: int
    """Partition of the record."""
    offset: int
    """Its offset there."""
    key: str
    """Its key: a photo's id in most topics."""
    attempt: int
    """From 1."""
    engine: str
    """The engine that has it."""
    since: datetime
    """Since when."""


class Worker(TypedDict):
    """A worker's heartbeat: what it has, does and uses; said at every change of its state and every few seconds."""

    worker: str
    """A worker process: service@host:process id; the key."""
    service: str
    """Its service."""
    host: str
    """Where it runs."""
    pid: int
    """Its process id there."""
    version: str
    """Of Darkroom."""
    state: str
    """starting, working, stopping, gone."""
    started_at: datetime
    """When it began."""
    reported_at: datetime
    """When this was said."""
    every_s: float
    """Seconds to its next heartbeat, at most."""
    cpu: float
    """Share, 0 to 1, that is in use of the CPU that it may use: of its container, where that has a limit, else of its host."""
    cpu_cores: float
    """Cores' worth of CPU that it and its engines used since its last heartbeat."""
    memory: float
    """Share, 0 to 1, that is in use of the memory that it may use: of its container, where that has a limit, else of its host."""
    memory_bytes: int
    """Resident memory of it and its engines."""
    lanes: list[WorkerLane]
    """What it does of each lane; empty: it has none."""
    work: list[WorkerTask]
    """What its engines work on, the oldest first, 20 at most."""


class PhotoAnalysisCancelled(TypedDict):
    """Nobody waits for this analysis any more: without an outcome yet, it ends as cancelled."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    revision: int
    """Revision of the analysis, from 1; a repair makes the next one."""
    policy_revision: int
    """Revision of the confidence policy that routes this analysis."""
    lane: str
    """high, default, batch or learning."""
    cancelled_at: datetime
    """When."""


class PhotoAnalysisRequested(TypedDict):
    """Intake has made the photo safe to look at; each stage reads this one record."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    revision: int
    """Revision of the analysis, from 1; a repair makes the next one."""
    policy_revision: int
    """Revision of the confidence policy that routes this analysis."""
    lane: str
    """high, default, batch or learning."""
    submission_id: str
    """From the submission."""
    source_uri: str
    """The original."""
    sha256: str
    """Of the original, hex."""
    byte_size: int
    """Of the original."""
    media_type: str
    """By content, such as image/jpeg."""
    width: int
    """Pixels of the upright original."""
    height: int
    """Pixels of the upright original."""
    orientation: int
    """EXIF orientation found in the original, 1 to 8."""
    frames: int
    """Frames of an animation, else 1."""
    rendition_uri: str
    """Upright 8-bit RGB, at most 2048 px on its long side; may be the original itself."""
    rendition_width: int
    """Pixels."""
    rendition_height: int
    """Pixels."""
    thumbnail_uri: str
    """Upright, at most 320 px on its long side."""
    file_name: str | None
    """Name shown to people."""
    taken_at: str | None
    """Local time of the camera, ISO 8601 without zone."""
    camera_make: str | None
    """From EXIF."""
    camera_model: str | None
    """From EXIF."""
    latitude: float | None
    """Degrees; only where the setting allows."""
    longitude: float | None
    """Degrees; only where the setting allows."""
    intake_ms: float
    """Milliseconds of intake's work."""
    submitted_at: datetime
    """From the submission."""
    requested_at: datetime
    """When intake was done."""
    stages: list[str] | None
    """Only these stages look, since they had failed; null: all do."""


class PhotoBatchJoined(TypedDict):
    """An import waits for this analysis. May come before, during or after it."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    batch_id: str
    """UUID of the import."""
    index: int
    """Place of the file in the import, from 0."""
    joined_at: datetime
    """When."""


class HeadLabel(TypedDict):
    name: str
    """The user's own label."""
    confidence: float
    """0 to 1."""
    head: str
    """Head that gave it."""
    head_version: str
    """Its version."""


class PhotoEmbedded(TypedDict):
    """The embedder's part."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    revision: int
    """Revision of the analysis, from 1; a repair makes the next one."""
    policy_revision: int
    """Revision of the confidence policy that routes this analysis."""
    lane: str
    """high, default, batch or learning."""
    stage: str
    """Always embedder."""
    engine: str
    """Name of the engine that made this part."""
    model_version: str
    """Version of its weights."""
    ms: float
    """Milliseconds of work: fetch, decode and inference."""
    finished_at: datetime
    """When the stage was done."""
    vector: list[float]
    """Of unit length; vectors of one model_version can be compared by cosine."""
    labels: list[HeadLabel]
    """The user's own labels, best first."""


class PhotoEmbeddingRequested(TypedDict):
    """A photo that was analysed shall be embedded by the version that is active now."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    model_version: str
    """Version that is asked for; another one, active by then, answers all the same."""
    source_uri: str
    """The original."""
    width: int
    """Pixels of the upright original."""
    height: int
    """Pixels of the upright original."""
    rendition_uri: str
    """Upright 8-bit RGB."""
    requested_at: datetime
    """When."""


class PhotoModelCompared(TypedDict):
    """What a shadow version says of a photo beside the active one."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    revision: int
    """Revision of the analysis."""
    stage: str
    """The model: its stage's name, or head:OWNER:SET."""
    active_version: str
    """That made the part."""
    shadow_version: str
    """That looked beside it."""
    agrees: bool
    """Whether both say the same: best label, or text."""
    difference: float
    """0: the same, 1: nothing in common; of confidences, or of characters."""
    active_says: str
    """Best label, or text; shortened."""
    shadow_says: str
    """Likewise; empty where it failed."""
    active_confidence: float | None
    """Of the best label."""
    shadow_confidence: float | None
    """Of its best label."""
    active_ms: float
    """Milliseconds of looking."""
    shadow_ms: float
    """Milliseconds of looking."""
    error: str | None
    """Why the shadow could not look, for people."""
    compared_at: datetime
    """When."""


class Label(TypedDict):
    name: str
    """Name of the label."""
    confidence: float
    """Probability, 0 to 1."""


class DetectedObject(TypedDict):
    name: str
    """What it is."""
    confidence: float
    """0 to 1."""
    x: float
    """Left edge, fraction of the upright width."""
    y: float
    """Top edge, fraction of the upright height."""
    width: float
    """Fraction."""
    height: float
    """Fraction."""


class PhotoObjectsDetected(TypedDict):
    """The detector's part."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    revision: int
    """Revision of the analysis, from 1; a repair makes the next one."""
    policy_revision: int
    """Revision of the confidence policy that routes this analysis."""
    lane: str
    """high, default, batch or learning."""
    stage: str
    """Always detector."""
    engine: str
    """Name of the engine that made this part."""
    model_version: str
    """Version of its weights."""
    ms: float
    """Milliseconds of work: fetch, decode and inference."""
    finished_at: datetime
    """When the stage was done."""
    category: str | None
    """Coarse kind of the picture, such as animal or food."""
    labels: list[Label]
    """Best first."""
    objects: list[DetectedObject]
    """Boxes; empty where the engine finds none or can't."""
    caption: str | None
    """One sentence, where the engine writes one."""
    calibrated: bool
    """Whether the confidences were calibrated on labelled data."""


class PartUsed(TypedDict):
    stage: str
    """detector, ocr or embedder."""
    revision: int
    """Revision of the part."""
    engine: str
    """Engine."""
    model_version: str
    """Version of its weights."""


class PhotoOutcome(TypedDict):
    """What the analysis came to; a pure function of its parts and of the policy. At most one per (analysis, revision) over the three outcome topics."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    revision: int
    """Revision of the analysis, from 1; a repair makes the next one."""
    policy_revision: int
    """Revision of the confidence policy that routes this analysis."""
    lane: str
    """high, default, batch or learning."""
    outcome: str
    """auto_labeled, suggested or review."""
    label: str | None
    """The best label."""
    confidence: float | None
    """Probability of the best label."""
    calibrated: bool
    """Whether the confidence was calibrated."""
    category: str | None
    """From the detector."""
    labels: list[Label]
    """Best first."""
    partial: bool
    """Whether a stage failed."""
    failed_stages: list[str]
    """Stages without a part."""
    parts: list[PartUsed]
    """The parts that it rests on."""
    reason: str
    """Why it was routed so, for a person."""
    decided_at: datetime
    """When the last part that it rests on was finished."""


class PhotoReembedded(TypedDict):
    """The answer to photo.embedding-requested: a vector, or why there is none."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    asked_version: str
    """The request's model_version."""
    engine: str
    """Name of the engine that made this."""
    model_version: str
    """Version of its weights."""
    vector: list[float]
    """Of unit length; empty where there is none."""
    error: str | None
    """Why there is none, for people."""
    ms: float
    """Milliseconds of work: fetch, decode and inference."""
    finished_at: datetime
    """When."""


class PhotoRejected(TypedDict):
    """Intake refused the photo: the end of this analysis."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    revision: int
    """Revision of the analysis, from 1; a repair makes the next one."""
    policy_revision: int
    """Revision of the confidence policy that routes this analysis."""
    lane: str
    """high, default, batch or learning."""
    submission_id: str
    """From the submission."""
    file_name: str | None
    """Name shown to people."""
    sha256: str
    """As submitted."""
    code: str
    """Stable code of the reason, such as image_truncated."""
    message: str
    """The reason for a person."""
    rejected_at: datetime
    """When."""


class RescoredLabel(TypedDict):
    name: str
    """The user's own label."""
    confidence: float
    """0 to 1."""
    head: str
    """Head that gave it."""
    head_version: str
    """Its version."""


class RescoredGeneral(TypedDict):
    name: str
    """A general label."""
    confidence: float
    """0 to 1."""


class RescoredOther(TypedDict):
    stage: str
    """detector or ocr."""
    revision: int
    """Of the part."""
    engine: str
    """That made it."""
    model_version: str
    """Version of its weights."""
    finished_at: datetime
    """When."""
    labels: list[RescoredGeneral]
    """The detector's, best first."""
    category: str | None
    """The detector's."""
    calibrated: bool
    """Whether its confidences are."""


class RescoredFailed(TypedDict):
    stage: str
    """Without a result."""
    failed_at: datetime
    """When."""


class PhotoRescored(TypedDict):
    """Other labels of the user's own for a photo that was seen before, from its stored embedding: all that a new revision of its outcome is made of."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of the analysis whose outcome is shown."""
    revision: int
    """Of the part that this is: above all revisions that the catalog knew of the analysis."""
    policy_revision: int
    """Revision of the confidence policy that routes it: the one of now."""
    lane: str
    """Always learning."""
    stage: str
    """Always embedder."""
    engine: str
    """Name of the engine that made the embedding."""
    model_version: str
    """Version of its weights."""
    labels: list[RescoredLabel]
    """The user's own labels by the heads of now, best first; empty: none of them fits."""
    others: list[RescoredOther]
    """The parts of the other stages, as the outcome was made of."""
    failed: list[RescoredFailed]
    """Stages that have none."""
    rescored_at: datetime
    """When; names this rescoring of the photo."""


class PhotoStageFailed(TypedDict):
    """A stage gave up on the photo; its outcome will be partial."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    revision: int
    """Revision of the analysis, from 1; a repair makes the next one."""
    policy_revision: int
    """Revision of the confidence policy that routes this analysis."""
    lane: str
    """high, default, batch or learning."""
    stage: str
    """detector, ocr or embedder."""
    code: str
    """Stable code of the reason."""
    message: str
    """The reason for a person."""
    attempts: int
    """How often it was tried."""
    failed_at: datetime
    """When."""


class PhotoSubmitted(TypedDict):
    """A photo is handed in. Anyone may write it; the bytes lie in an allowed store."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    submission_id: str
    """Made by the submitter, at most 200 characters; the same submission repeated has the same id."""
    analysis_id: str | None
    """UUID; null: derived by intake as uuid5(photo_id, submission_id)."""
    revision: int | None
    """Null: 1."""
    policy_revision: int | None
    """Null: the policy in force."""
    lane: str
    """high, default, batch or learning."""
    source_uri: str
    """Where the original bytes are: a URI inside an allowed store."""
    sha256: str
    """64 lower-case hex digits of the original bytes."""
    byte_size: int | None
    """Length of the original in bytes."""
    file_name: str | None
    """Name shown to people."""
    submitted_at: datetime
    """When it was handed in."""


class TextWord(TypedDict):
    text: str
    """The word."""
    confidence: float
    """0 to 1."""
    polygon: list[float]
    """x0, y0, x1, y1, …: corners clockwise from the top left of the text, fractions of the upright photo."""


class TextLine(TypedDict):
    text: str
    """The line."""
    confidence: float
    """0 to 1."""
    polygon: list[float]
    """x0, y0, x1, y1, …: corners clockwise from the top left of the text, fractions of the upright photo."""
    words: list[TextWord]
    """Words in order."""


class PhotoTextRead(TypedDict):
    """The ocr's part; no text is an empty result, not a missing one."""

    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of one pass over the photo: uuid5(photo_id, submission_id)."""
    revision: int
    """Revision of the analysis, from 1; a repair makes the next one."""
    policy_revision: int
    """Revision of the confidence policy that routes this analysis."""
    lane: str
    """high, default, batch or learning."""
    stage: str
    """Always ocr."""
    engine: str
    """Name of the engine that made this part."""
    model_version: str
    """Version of its weights."""
    ms: float
    """Milliseconds of work: fetch, decode and inference."""
    finished_at: datetime
    """When the stage was done."""
    text: str
    """All lines in reading order, separated by line feeds."""
    lines: list[TextLine]
    """In reading order."""


class PhotoTicked(TypedDict):
    """Time has passed: what is over for long of this photo's analyses need not be kept in the aggregator's table."""

    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    occurred_at: datetime
    """How late it is."""


class ReviewAnswered(TypedDict):
    """What a person says a photo shows, asked about an outcome. The newest answer about a photo counts, but a skip says nothing. Undoing what counted is a record of its own: the answer before it once more, or withdrawn."""

    answer_id: str
    """UUID of this answer; a repeated record repeats it."""
    owner: str
    """UUID of the owner; namespace of the photo id."""
    photo_id: str
    """UUID: uuid5(owner, hex SHA-256 of the original bytes)."""
    analysis_id: str
    """UUID of the analysis whose outcome was shown."""
    revision: int
    """Revision of that outcome."""
    reviewer: str
    """Who answered."""
    answer: str
    """confirm (the suggested label is right), correct (another one is), none (no label fits), skip, or withdrawn (nothing that was said of the photo before counts any more)."""
    label: str | None
    """What the photo shows; for confirm the suggested label. Null for none, skip and withdrawn."""
    suggested_label: str | None
    """The best label that the reviewer was shown."""
    suggested_confidence: float | None
    """Its probability, 0 to 1."""
    calibrated: bool
    """Whether that was calibrated."""
    model_version: str | None
    """Weights that suggested it."""
    answered_at: datetime
    """When."""


class TrainingCancelled(TypedDict):
    """Somebody does not want a training any more; for whoever has it in hand."""

    request_id: str
    """UUID of the request; the key."""
    by: str
    """Who."""
    cancelled_at: datetime
    """When."""


class TrainedHead(TypedDict):
    uri: str
    """In the object store: safetensors."""
    sha256: str
    """Of its bytes, hex."""
    byte_size: int
    """Bytes."""
    model_version: str
    """Of the embeddings that it labels."""


class TrainingEnded(TypedDict):
    """The end of a training, of which there is one; a repeated record repeats it."""

    request_id: str
    """UUID of the request that it answers."""
    owner: str
    """UUID of the owner."""
    model: str
    """Name of the model, which is that of its set of labels."""
    token: int
    """Fencing token; the registry takes nothing by a lower one than it knows."""
    end: str
    """trained, not_enough (examples are missing), failed, cancelled or timed_out."""
    publish: bool
    """Whether the gate lets the head be used; else it is a candidate, or there is none."""
    reason: str
    """Why so, for people."""
    head: TrainedHead | None
    """What was trained; null: nothing."""
    metrics: str
    """JSON: accuracy, low, high, calibration_error, examples, confusion, labels …; see the trainer's README. Empty where nothing was assessed."""
    report_uri: str | None
    """JSON in the object store: the metrics, what is said of each example, suspicious examples."""
    seconds: float
    """That the training took."""
    ended_at: datetime
    """When."""


class TrainingPrepared(TypedDict):
    """A training that was asked for may begin: what it learns from is in the object store."""

    request_id: str
    """UUID of the request that it answers."""
    owner: str
    """UUID of the owner."""
    model: str
    """Name of the model, which is that of its set of labels."""
    reason: str
    """batch, person or schedule."""
    manifest_uri: str
    """JSON: what to learn from and by; see the trainer's README."""
    manifest_sha256: str
    """Of its bytes, hex."""
    fence: int
    """The highest token that the registry knows of this model; the training's own has to be higher."""
    prepared_at: datetime
    """When."""


class TrainingProgressed(TypedDict):
    """How far a training is; each says all, so that the last one holds."""

    request_id: str
    """UUID of the request that it answers."""
    owner: str
    """UUID of the owner."""
    model: str
    """Name of the model, which is that of its set of labels."""
    token: int
    """Fencing token: rises with every trainer that takes the model's lock."""
    worker: str
    """Who trains."""
    step: str
    """What is done, for people: waiting, fitting, assessing."""
    done: float
    """Share of the work, 0 to 1; it falls only where another trainer begins anew."""
    at: datetime
    """When."""


class TrainingRequested(TypedDict):
    """Somebody or something wants a model of the user's own labels to be trained."""

    request_id: str
    """UUID of the request; for an import: uuid5(batch_id, training)."""
    owner: str
    """UUID of the owner."""
    model: str
    """Name of the model; the key."""
    reason: str
    """batch, person or schedule."""
    batch_id: str | None
    """The import that was large enough, if it is the reason."""
    requested_at: datetime
    """When."""
