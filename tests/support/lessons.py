"""What a trainer learns from, as the gateway prepares it."""

import io
import json
from hashlib import sha256
from typing import Any

import numpy as np

from streamkit import ObjectStore
from trainer.examples import Examples


def packed(vectors: Any) -> bytes:
    """A file of NumPy's."""
    file = io.BytesIO()
    np.save(file, vectors)
    return file.getvalue()


def stored(store: ObjectStore, key: str, data: bytes) -> dict[str, str]:
    """Store it; where it is, and its hash."""
    return {"uri": store.put(key, data), "sha256": sha256(data).hexdigest()}


def manifest(
    store: ObjectStore, request_id: str, given: Examples, **changes: Any
) -> dict[str, str]:
    """The manifest of these examples, stored: its place and hash as an event names them."""
    folder = f"trainings/{request_id}"
    told = {
        "format": 1,
        "request_id": request_id,
        "owner": "an owner",
        "model": "a model",
        "labels": list(given.names),
        "model_version": "embedder@1",
        "vectors": stored(store, f"{folder}/vectors.npy", packed(given.vectors)),
        "examples": [
            {"photo_id": key, "label": label, "weight": weight, "source": "person"}
            for key, label, weight in zip(
                given.keys, given.labels, given.weights.tolist(), strict=True
            )
        ],
        "active": None,
        "policy": {"least_accuracy": 0.8, "least_examples": 5},
        "time_limit_s": 3600,
        "seed": 0,
    }
    found = stored(store, f"{folder}/manifest.json", json.dumps({**told, **changes}).encode())
    return {"manifest_uri": found["uri"], "manifest_sha256": found["sha256"]}
