"""What somebody may do: five roles, each of which may do all that the ones before it may."""

from typing import Final, Literal, get_args

Role = Literal["viewer", "uploader", "reviewer", "trainer", "admin"]
"""Sees · hands photos in · answers reviews · trains and registers models · runs Darkroom."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)


def reaches(held: Role, needed: Role) -> bool:
    """Whether who holds one role may do what needs another."""
    return ROLES.index(held) >= ROLES.index(needed)
