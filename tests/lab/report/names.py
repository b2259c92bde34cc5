"""Pod names as people read them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lab.callers.measure import CallReport


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
    common = os.path.commonprefix(list(pods)) if len(set(pods)) > 1 else ""
    cut = common.rfind("-") + 1
    return {pod: pod[cut:] or pod for pod in pods}
