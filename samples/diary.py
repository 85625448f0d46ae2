"""The mill's sensor diary: two years of half-hourly entries in prose, five megabytes of plain text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from math import cos, pi
from random import Random

_FIRST = datetime(2022, 1, 1)  # noqa: DTZ001 - the diary keeps local time without a zone
_DAYS = 730
_STEP = timedelta(minutes=30)
_SEED = 7_0233  # the mill's serial number

_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH_NAMES = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

# What a reader can find here and nowhere else; each at its day and hour.
PLANTED = {
    (2022, 2, 26, 6, 30): "A beaver has gnawed through bulkhead board number four; the teeth marks were kept as a toy.",
    (2022, 5, 17, 9, 0): "A heron that the shift calls Professor Quince slept in bucket 23 until the gate was opened.",
    (2022, 8, 30, 15, 30): "The stone trap held a small brass key stamped VII-1889, said to belong to the abbey clock.",
    (
        2022,
        11,
        11,
        17,
        0,
    ): "Campers from Tamm took three weir boards for firewood; we drove after them as far as Hallin.",
    (2023, 1, 19, 22, 30): "The student Ludovica Penn counted 214 meteors from the roof, with all our lamps put out.",
    (2023, 6, 24, 14, 0): "The wheel made its eight-millionth revolution at 14:26; the trumpet of Ivo Lark was heard.",
    (2023, 10, 2, 10, 30): "The new headrace transmitter has serial number HX-55190; the old one had drowned in silt.",
    (2023, 12, 21, 7, 30): "A message in a bottle lay on the rack, posted at Upper Wend in 1974 by a Cosima Raab.",
}

_SKY = (
    "clear sky",
    "thin cloud",
    "low cloud",
    "drizzle",
    "steady rain",
    "a light breeze",
    "gusts from the west",
    "haze",
)
_GRAIN = ("wheat", "wheat", "wheat", "spelt", "rye", "einkorn", "barley")
_RUNNING = (
    "Grinding {grain} on pair {pair}: {kilos} kg since the last entry, meal at {meal:.1f} degrees; {sky}.",
    "The wheel makes {rpm:.2f} turns a minute at gate {gate} per cent; {kilos} kg of {grain} went through pair {pair}.",
    "River side stands at {river:.1f} degrees and land side at {land:.1f}; frame {shake:.1f} mm/s, {grain} running.",
    "Upper water {upper:.2f} m, lower water {lower:.2f} m, loss at the bars {loss} cm; {grain} on pair {pair}, {sky}.",
    "Gear oil {oil:.1f} degrees, exhaust dust {dust:.1f} mg; pair {pair} takes {grain} evenly with the right sound.",
)
_RESTING = (
    "Wheel at rest. Upper water {upper:.2f} m, lower water {lower:.2f} m; {sky}, air at {air:.1f} degrees.",
    "Nobody in the house. Battery {volts:.1f} V, water {water:.1f} degrees, old bed {flow:.2f} cubic metres a second.",
    "Still water. Land side has cooled to {land:.1f} degrees, gear oil to {oil:.1f}; {sky}.",
)
_QUIET = (
    "An owl called {leaves} times from the granary roof, by the count of the watch.",
    "Dew point {dew:.1f} degrees; the log book was left open at page {page}.",
    "Standby has the telephone, and {sacks} sacks wait for the morning cart.",
    "The yard lamp burned for {pebbles} hours; no message since the last entry.",
)
_REMARKS = (
    "Raked about {leaves} kg of leaves.",
    "Stone trap held {pebbles} pebbles.",
    "Hopper filled with {sacks} sacks.",
    "Counter of turns at {turns:,}.",
    "Bypass flap open by {flap} per cent.",
    "Fine flour bin {bin} per cent full.",
)


def _entry(rng: Random, at: datetime, turns: int) -> str:
    season = cos(2 * pi * (at.timetuple().tm_yday - 20) / 365)  # 1 in the cold of January, -1 in July
    running = at.weekday() < 6 and 5.5 <= at.hour + at.minute / 60 < 21.5 and rng.random() > 0.06
    readings = {
        "grain": rng.choice(_GRAIN),
        "pair": rng.choice((1, 2)),
        "kilos": rng.randint(118, 161),
        "meal": rng.uniform(24, 36) - 4 * season,
        "rpm": rng.gauss(7.5, 0.04),
        "gate": rng.randint(58, 88),
        "river": rng.uniform(38, 47) - 3 * season,
        "land": (rng.uniform(35, 43) if running else rng.uniform(12, 21)) - 4 * season,
        "shake": rng.uniform(1.6, 2.6),
        "upper": rng.gauss(1.62, 0.06) + 0.12 * season,
        "lower": rng.gauss(0.58, 0.03) + 0.05 * season,
        "loss": rng.randint(2, 9),
        "oil": (rng.uniform(46, 58) if running else rng.uniform(15, 26)) - 4 * season,
        "dust": rng.uniform(1.8, 4.9),
        "air": rng.uniform(8, 16) - 11 * season,
        "water": rng.uniform(9, 12) - 6 * season,
        "volts": rng.uniform(25.8, 26.9),
        "flow": rng.uniform(0.84, 1.3),
        "sky": rng.choice(_SKY),
        "leaves": rng.randint(2, 60),
        "pebbles": rng.randint(1, 9),
        "sacks": rng.randint(4, 12),
        "turns": turns,
        "flap": rng.randint(3, 40),
        "page": rng.randint(1, 192),
        "dew": rng.uniform(2, 8) - 8 * season,
        "bin": rng.randint(10, 95),
    }
    sentences = [rng.choice(_RUNNING if running else _RESTING), rng.choice(_REMARKS if running else _QUIET)]
    return " ".join(sentence.format(**readings) for sentence in sentences)


def diary_lines() -> Iterator[str]:
    """The diary, line by line without line ends; the same on each run."""
    rng = Random(_SEED)
    yield "SENSOR DIARY OF ALDERMOOR MILL, HALDEN M7-0233"
    yield "Put into words by the desk every thirty minutes, with remarks of the shift. Years 2022 and 2023."
    turns = 5_184_000
    for day in (_FIRST + timedelta(days=offset) for offset in range(_DAYS)):
        yield ""
        yield f"{_DAY_NAMES[day.weekday()]}, {day.day} {_MONTH_NAMES[day.month - 1]} {day.year}"
        yield ""
        for at in (day + _STEP * step for step in range(48)):
            turns += rng.randint(60, 110)
            remark = PLANTED.get((at.year, at.month, at.day, at.hour, at.minute))
            yield f"{at:%H:%M}  {_entry(rng, at, turns)}" + (f" {remark}" if remark else "")
