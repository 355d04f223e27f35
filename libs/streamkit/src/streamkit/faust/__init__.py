"""Folds and joins on Faust: states by key that no crash loses, mended where Faust loses them.

Needs the extra `faust` (`darkroom-streamkit[faust]`).
"""

from streamkit.faust.app import FoldApp
from streamkit.faust.folding import LARGEST_RECORD, Fold
from streamkit.faust.join import JoinSettings, join_app

__all__ = ["LARGEST_RECORD", "Fold", "FoldApp", "JoinSettings", "join_app"]
