"""Randomness that is a function of names, so that no result depends on what was asked for before.

What belongs here: generators and hashes keyed by (seed, names). What does not: any distribution of
a market.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]


def salt(seed: int, *names: object) -> int:
    """A 63-bit number that depends on the seed and every name.

    Example:
        >>> salt(1, "a", "b") == salt(1, "a", "b") != salt(1, "ab")
        True
    """
    text = "\x1f".join((str(seed), *(str(name) for name in names)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def stream(seed: int, *names: object) -> np.random.Generator:
    """A generator of its own for those names."""
    return np.random.Generator(np.random.PCG64(salt(seed, *names)))


def uniform_of(seed: int, *names: object) -> float:
    """One number in [0, 1) for those names; cheaper than a generator."""
    return (salt(seed, *names) >> 10) / float(1 << 53)


def hashed_bits(key: int, *coordinates: Ints) -> npt.NDArray[np.uint64]:
    """64 well-mixed bits per point: splitmix64's finaliser, one round per coordinate.

    A generator would have to be advanced in order; a hash gives the value at any (level, step) on
    its own, which is what makes a whole day of books one vectorised expression.

    Source: https://prng.di.unimi.it/splitmix64.c
    """
    state = np.uint64(key)
    mixed: npt.NDArray[np.uint64] = np.full(
        np.broadcast(*coordinates).shape, state, dtype=np.uint64
    )
    for coordinate in coordinates:
        mixed = (mixed ^ coordinate.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def hashed_uniform(key: int, *coordinates: Ints) -> Floats:
    """A number in (0, 1] per point of the coordinates.

    Example:
        >>> bool((hashed_uniform(7, np.arange(1000)) > 0).all())
        True
    """
    return ((hashed_bits(key, *coordinates) >> np.uint64(11)) + np.uint64(1)) / float(1 << 53)
