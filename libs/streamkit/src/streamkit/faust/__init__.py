"""Folds and joins on Faust: states by key that no crash loses, mended where Faust loses them.

Needs the extra `faust` (`darkroom-streamkit[faust]`).
"""

from streamkit.faust.app import FoldApp
from streamkit.faust.folding import LARGEST_RECORD, Fold
from streamkit.faust.join import JoinSettings, join_app
from streamkit.faust.states import PLAIN, Packing, deflated, from_json

__all__ = [
    "LARGEST_RECORD",
    "PLAIN",
    "Fold",
    "FoldApp",
    "JoinSettings",
    "Packing",
    "deflated",
    "from_json",
    "join_app",
]
