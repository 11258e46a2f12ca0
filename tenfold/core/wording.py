"""Words that every room needs."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    Example:
        >>> plural(1, "trial"), plural(64, "trial"), plural(2, "class")
        ('1 trial', '64 trials', '2 classes')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun}{'es' if noun.endswith('s') else 's'}"
