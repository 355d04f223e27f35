"""The names of the topics. Made by schemas/generate.py; change the schemas instead."""

from typing import Final

LANES: Final = ("high", "default", "batch", "learning")
PHOTO_REJECTED: Final = "photo.rejected.v1"
PHOTO_OBJECTS_DETECTED: Final = "photo.objects-detected.v1"
PHOTO_TEXT_READ: Final = "photo.text-read.v1"
PHOTO_EMBEDDED: Final = "photo.embedded.v1"
PHOTO_STAGE_FAILED: Final = "photo.stage-failed.v1"
PHOTO_BATCH_JOINED: Final = "photo.batch-joined.v1"
PHOTO_ANALYSIS_CANCELLED: Final = "photo.analysis-cancelled.v1"
ANALYSIS_DEADLINE_REACHED: Final = "analysis.deadline-reached.v1"
PHOTO_RESCORED: Final = "photo.rescored.v1"
PHOTO_AUTO_LABELED: Final = "photo.auto-labeled.v1"
PHOTO_SUGGESTED: Final = "photo.suggested.v1"
PHOTO_REVIEW_REQUESTED: Final = "photo.review-requested.v1"
BATCH_PHOTO_ENDED: Final = "batch.photo-ended.v1"
BATCH_INTAKE: Final = "batch.intake.v1"
BATCH_CHUNK_COUNTED: Final = "batch.chunk-counted.v1"
BATCH_PROGRESSED: Final = "batch.progressed.v1"
BATCH_COMPLETED: Final = "batch.completed.v1"
PHOTO_TICKED: Final = "photo.ticked.v1"
BATCH_CHUNK_TICKED: Final = "batch.chunk-ticked.v1"
BATCH_TICKED: Final = "batch.ticked.v1"
PHOTO_EMBEDDING_REQUESTED: Final = "photo.embedding-requested.v1"
PHOTO_REEMBEDDED: Final = "photo.reembedded.v1"
PHOTO_MODEL_COMPARED: Final = "photo.model-compared.v1"
MODEL_ACTIVATED: Final = "model.activated.v1"
MODEL_REPORTED: Final = "model.reported.v1"
REVIEW_ANSWERED: Final = "review.answered.v1"
TRAINING_REQUESTED: Final = "training.requested.v1"
TRAINING_PREPARED: Final = "training.prepared.v1"
TRAINING_PROGRESSED: Final = "training.progressed.v1"
TRAINING_ENDED: Final = "training.ended.v1"
TRAINING_CANCELLED: Final = "training.cancelled.v1"
OPS_POLICY: Final = "ops.policy.v1"
OPS_LOAD: Final = "ops.load.v1"
OPS_CONTROL: Final = "ops.control.v1"
OPS_WORKER: Final = "ops.worker.v1"
OPS_NOTIFIED: Final = "ops.notified.v1"
PHOTO_SUBMITTED: Final = {
    "high": "photo.submitted.high.v1",
    "default": "photo.submitted.default.v1",
    "batch": "photo.submitted.batch.v1",
    "learning": "photo.submitted.learning.v1",
}
PHOTO_ANALYSIS_REQUESTED: Final = {
    "high": "photo.analysis-requested.high.v1",
    "default": "photo.analysis-requested.default.v1",
    "batch": "photo.analysis-requested.batch.v1",
    "learning": "photo.analysis-requested.learning.v1",
}
