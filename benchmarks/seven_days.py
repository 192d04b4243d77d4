"""Texts in which the seven days can be told apart, beside months and neutral sentences.

The bundled corpus has five training sentences of each day, which is too few for features of single
days among a hundred that also tell 46 concepts apart. Here are its sentences about weekdays and
months and its neutral ones, and carrier sentences that come once with every day, so that nothing
but the day differs between them; every fourth carrier is held out.

    python benchmarks/seven_days.py texts.jsonl
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from cofire.data import bundled_concepts

KEPT = frozenset({"weekday", "month", "neutral"})
"""Labels of the bundled sentences that are kept."""

DAYS = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())

CARRIERS = """
{} came around again and the attic was still full of boxes.
Grandfather always polished his boots on a {}.
The library opens an hour later every {}.
We agreed to look at the figures again on {}.
It was a quiet {} until the fire alarm went off.
Her letter, posted on {}, took nine days to cross the sea.
{}'s match was called off because of fog.
Nobody in the office answers the phone on {} after lunch.
The new tram line starts running this {}.
By {} evening the flood water had reached the orchard.
All through {} the neighbours argued about the fence.
They were married on a {} in a small stone chapel.
Could you water my tomatoes until {}?
The bread van only comes up the hill on {}.
Last {} a heron landed in our garden pond.
I have no plans for {} apart from sleeping.
Every {} the twins fight over the last pancake.
The exhibition closes on {}, so hurry.
From next {} the museum will charge for entry.
On {} the surgeon sees patients in the old wing.
The auction was moved from the barn to the hall on {}.
{} is washing day in our street.
A parcel for you arrived on {} while you were out.
The orchestra rehearses each {} behind closed doors.
Since {} the radiator has been making a knocking noise.
Rain is expected on {} across the whole valley.
We left on {} and drove straight through the night.
The minister resigned on {} without giving a reason.
What time does the pool open on {}?
My piano lesson moved to {}, which suits me better.
On {} night somebody painted the statue green.
The fishing fleet stays in harbour on {}.
If it is dry on {}, we will cut the hay.
They promised to repair the lift before {}.
{} morning found him asleep at his desk.
The recipe says to start the dough on {}.
Our dog refuses to go out on {}, nobody knows why.
An old friend rang on {} to say she was in town.
The committee voted on {} to keep the old name.
Each {} she sets the clocks by the radio.
""".strip().splitlines()


def records() -> Iterator[dict[str, str]]:
    """The texts, as JSON values."""
    for text in bundled_concepts():
        if text.label not in KEPT:
            continue
        known = {
            "text": text.text,
            "label": text.label,
            "group": text.group,
            "detail": text.detail,
            "split": text.split,
        }
        yield {name: value for name, value in known.items() if value is not None}
    for number, carrier in enumerate(CARRIERS):
        for day in DAYS:
            yield {
                "text": carrier.format(day),
                "label": "weekday",
                "group": "time",
                "detail": day,
                "split": "heldout" if number % 4 == 3 else "train",
            }


def write(path: Path) -> Path:
    """Write the texts as JSON lines."""
    lines = [json.dumps(record, ensure_ascii=False) for record in records()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
