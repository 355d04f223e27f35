"""From the parts of an analysis to its outcome: pure functions of parts and policy."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from darkroom_schemas.stages import STAGES

AUTO_LABELED: Final = "auto_labeled"
SUGGESTED: Final = "suggested"
REVIEW: Final = "review"

Part = Mapping[str, Any]
"""A stage's part as the table keeps it: engine, model_version, at (milliseconds) and, where the
stage gives them, labels ([name, confidence], best first), category, calibrated."""

Parts = Mapping[str, Part]
"""Parts by stage."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Above `auto_above` a label is set, below `review_below` a person is asked; both exclusive."""

    auto_above: float = 0.8
    review_below: float = 0.5


@dataclass(frozen=True, slots=True)
class Policy:
    """How sure is sure enough: in general, and for labels that have thresholds of their own."""

    general: Thresholds = field(default_factory=Thresholds)
    labels: Mapping[str, Thresholds] = field(default_factory=dict)

    def of(self, label: str) -> Thresholds:
        """The thresholds of a label."""
        return self.labels.get(label, self.general)


PolicyOf = Callable[[int], Policy]
"""The policy of a revision; raises Busy while that can't be known yet."""


def decide(parts: Parts, failed: Collection[str], policy: Policy) -> dict[str, Any]:
    """What depends on the policy: outcome, label, confidence, calibrated and the reason.

    The user's own labels (the embedder's, from heads) go before the general ones (the detector's),
    whatever their confidence. An analysis with a failed stage goes to a person.
    """
    label, confidence, calibrated = _best(parts)
    outcome, reason = _route(label, confidence, failed, policy)
    return {
        "outcome": outcome,
        "label": label,
        "confidence": confidence,
        "calibrated": calibrated,
        "reason": reason,
    }


def facts(parts: Parts, failed: Mapping[str, int]) -> dict[str, Any]:
    """What depends on the parts alone: the remaining fields of the outcome but `decided_at`."""
    return {
        "category": parts.get("detector", {}).get("category"),
        "labels": [{"name": name, "confidence": value} for name, value in _all_labels(parts)],
        "partial": bool(failed),
        "failed_stages": [stage for stage in STAGES if stage in failed],
    }


def decided_ms(parts: Parts, failed: Mapping[str, int]) -> int:
    """When the last stage ended, in milliseconds since 1970."""
    return max([int(part["at"]) for part in parts.values()] + list(failed.values()))


def _best(parts: Parts) -> tuple[str | None, float | None, bool]:
    own = parts.get("embedder", {}).get("labels", ())
    if own:
        return own[0][0], own[0][1], False
    detector = parts.get("detector", {})
    general = detector.get("labels", ())
    if general:
        return general[0][0], general[0][1], bool(detector["calibrated"])
    return None, None, False


def _route(
    label: str | None, confidence: float | None, failed: Collection[str], policy: Policy
) -> tuple[str, str]:
    if failed:
        names = ", ".join(stage for stage in STAGES if stage in failed)
        return REVIEW, f"Without a result of {names}, so a person should look."
    if label is None or confidence is None:
        return REVIEW, "No label was found."
    limits = policy.of(label)
    sure = f"{label!r} with a confidence of {confidence:.3f}"
    if confidence > limits.auto_above:
        return AUTO_LABELED, f"{sure}, above {limits.auto_above:g}."
    if confidence < limits.review_below:
        return REVIEW, f"{sure}, below {limits.review_below:g}."
    return SUGGESTED, f"{sure}, between {limits.review_below:g} and {limits.auto_above:g}."


def _all_labels(parts: Parts) -> list[tuple[str, float]]:
    """Every label once, best first; of equals the user's own, then by name."""
    best: dict[str, tuple[float, int]] = {}
    for rank, stage in enumerate(("embedder", "detector")):
        for name, confidence in parts.get(stage, {}).get("labels", ()):
            if name not in best or confidence > best[name][0]:
                best[name] = (confidence, rank)
    ordered = sorted(best.items(), key=lambda item: (-item[1][0], item[1][1], item[0]))
    return [(name, confidence) for name, (confidence, _) in ordered]
