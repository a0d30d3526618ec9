"""A model's latency as the page's chart takes it. Pure."""

from datetime import datetime
from typing import Final

from control.catalogue import LatencyPoint, LatencySeries

_STEP_S: Final = {"minute": 60, "hour": 3600, "day": 86_400}


def latency_chart(series: LatencySeries) -> dict[str, object]:
    """Median and 99th percentile by time; a step without a call is a gap."""
    step = _STEP_S[series.step]
    by_time = {int(datetime.fromisoformat(one.time).timestamp()): one for one in series.points}
    if not by_time:
        return {"x": [], "series": []}
    start = int(datetime.fromisoformat(series.start).timestamp()) // step * step
    end = int(datetime.fromisoformat(series.end).timestamp())
    times = list(range(start, end + 1, step))
    points: list[LatencyPoint | None] = [by_time.get(time) for time in times]
    return {
        "x": times,
        "series": [
            {
                "label": "median",
                "unit": "ms",
                "colour": 1,
                "values": [None if one is None else one.p50_ms for one in points],
            },
            {
                "label": "99th percentile",
                "unit": "ms",
                "colour": 2,
                "values": [None if one is None else one.p99_ms for one in points],
            },
        ],
        "min": 0,
    }
