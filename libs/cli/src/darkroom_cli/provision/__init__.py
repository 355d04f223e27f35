"""Getting the programs that the local stack needs, once; offline afterwards."""

from darkroom_cli.provision.tools import Tools, provide

__all__ = ["Tools", "provide"]
