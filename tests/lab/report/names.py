"""Pod names as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from lab.callers.results import CallReport


def pods_of(reports: Sequence[CallReport]) -> list[str]:
    """Every pod that was in a call or spoke, in the order in which they appeared."""
    seen: dict[str, float] = {}
    for report in reports:
        moments = [(stay.pod, stay.joined) for stay in report.agents]
        moments += [(sound.pod, sound.start) for sound in report.sounds]
        for pod, moment in moments:
            seen[pod] = min(moment, seen.get(pod, moment))
    return sorted(seen, key=lambda pod: seen[pod])


def short_names(pods: Sequence[str]) -> dict[str, str]:
    """Pod names without what all of them begin with, whole words only."""
    words = [pod.split("-") for pod in pods]
    common = 0
    if len(set(pods)) > 1:
        common = next((i for i, column in enumerate(zip(*words, strict=False)) if len(set(column)) > 1), 0)
    return {pod: "-".join(split[common:]) for pod, split in zip(pods, words, strict=True)}
