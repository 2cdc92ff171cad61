#!/usr/bin/env python3
"""Writes arena.json and club.json: two halls numbered the way real halls are, as bodies for PUT /admin/events/{event_id}.

    make_venues.py           write both files beside this script
    make_venues.py --check   exit code 1 when a file differs from what this script would write

The halls are invented; how they are numbered is not: every rule below names the custom it follows. They are irregular
on purpose, because best-adjacent search, layout chunks and seat maps are only tested by rows that have holes.

Money: `price_cents` is an integer in the currency's smallest unit. The euro has cents, so 3500 is EUR 35.00; the won has
no smaller unit in ISO 4217 (exponent 0), so 154000 is KRW 154,000 and not 1,540.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent

# Row letters leave out I and O, which are misread as 1 and 0; after Z come AA, BB, CC (the usual way to go on).
LETTERS = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in "IO"]
ROW_LETTERS = LETTERS + [c * 2 for c in LETTERS]

# Korean arena shows sell lettered grades, the dearest called VIP, then R, S and A; standing pits are sold by the zone.
WON = {"STANDING": 165000, "VIP": 198000, "R": 165000, "S": 143000, "A": 121000, "B": 99000, "LIMITED": 77000}


def row(name, labels):
    """One row; its seats as a number where they are 1…n without a gap, else as the list of labels."""
    labels = [str(label) for label in labels]
    counted = [str(n) for n in range(1, len(labels) + 1)]
    return {"id": name, "seats": len(labels) if labels == counted else labels}


def without(numbers, first, last):
    """The numbers outside first…last: where seats are missing, the others keep the numbers they would have had."""
    return [n for n in numbers if not first <= n <= last]


def middle(width, gap):
    """First and last number of a gap in the middle of a row of this width."""
    first = (width - gap) // 2 + 1
    return first, first + gap - 1


def level_position(number, base, sections):
    """Where a section lies on its ring: 0 behind the stage, 1 straight across from it.

    Sections are numbered clockwise seen from above, beginning at the middle of the stage end (x01).
    """
    step = number - base - 1
    return min(step, sections - step) / (sections / 2)


def is_corner(position):
    """The four quarter turns of an oval bowl; between them lie the straight sides and the two ends."""
    return 0.12 < position < 0.30 or 0.70 < position < 0.88


def lower_section(number):
    """100 level, the lower bowl: 24 sections, letters from the floor up, the last row for wheelchairs."""
    position = level_position(number, 100, 24)
    corner = is_corner(position)
    rows = []
    for index, name in enumerate(ROW_LETTERS[:22]):
        # A corner is a wedge: it gains a seat with every second row. Sides and ends are straight, and the last rows of
        # an end give up two seats to the stairs.
        width = 8 + index // 2 if corner else 18 - (2 if position > 0.9 and index >= 18 else 0)
        seats = list(range(1, width + 1))
        # Every other section has a vomitory, the tunnel under the stand, whose mouth takes the middle of six rows.
        if number % 2 == 0 and 12 <= index < 18:
            seats = without(seats, *middle(width, 4))
        # Seat 1 is on the aisle next to the lower-numbered section. So the stage-side seats that the show's loudspeakers
        # hide (a sightline kill) are the low numbers clockwise of the stage and the high ones on the other side.
        if number == 103:
            seats = without(seats, 1, 4)
        if number == 123:
            seats = without(seats, width - 3, width)
        # Follow spots and cameras stand in the middle of the section straight across from the stage (production kill).
        if number == 113 and name in ("J", "K", "L"):
            seats = without(seats, 7, 12)
        # Equipment on the arena floor takes the first two rows of the two sections beside the stage.
        if number in (103, 123) and index < 2:
            continue
        rows.append(row(name, seats))
    # The concourse is the only level way in, so wheelchair bays (W) and companion chairs (C) make up the row on it.
    if not corner:
        rows.append(row("WC", [f"{kind}{n}" for n in range(1, 5) for kind in "WC"]))
    grade = "LIMITED" if position < 0.2 else "VIP" if 0.35 < position < 0.65 else "R" if not corner else "S"
    return section(number, "Lower Bowl", grade, rows)


def club_section(number):
    """200 level, the club tier: 24 short sections of armchairs between two rows of suites, its rows numbered."""
    position = level_position(number, 200, 24)
    rows = []
    for index in range(6):
        width = 10 + index if is_corner(position) else 16
        seats = list(range(1, width + 1))
        # The door from the lounge opens into the last row of every third section.
        if number % 3 == 0 and index == 5:
            seats = without(seats, 1, 5)
        rows.append(row(str(index + 1), seats))
    return section(number, "Club", "VIP" if 0.35 < position < 0.65 else "R", rows)


def upper_section(number):
    """400 level, the upper bowl (300 is the level of the suites): 30 wide, steep sections."""
    position = level_position(number, 400, 30)
    corner = is_corner(position)
    rows = []
    for index, name in enumerate(ROW_LETTERS[:16]):
        width = 12 + index if corner else 21
        seats = list(range(1, width + 1))
        # The upper bowl is entered from below: each portal takes the middle of the first five rows.
        if index < 5:
            seats = without(seats, *middle(width, 5 if corner else 7))
        # Under the roof, a lighting bridge stands on the last two rows of every fifth section.
        if number % 5 == 0 and index >= 14:
            seats = without(seats, width - 5, width)
        rows.append(row(name, seats))
    # The far ends of the back rows end at a wall that leans in: one more, shorter row fits on the straight sides only.
    if not corner:
        rows.append(row(ROW_LETTERS[16], range(1, 16)))
    grade = "B" if position < 0.3 or position > 0.7 else "A"
    return section(number, "Upper Bowl", grade, rows)


def section(number, level, grade, rows):
    """A seated section; the price goes by grade."""
    return {"id": str(number), "name": f"{level} {number} ({grade})", "kind": "seated", "price_cents": WON[grade], "rows": rows}


def arena():
    """An end-stage concert: what lies behind the stage is killed and so is not in the document at all."""
    # The mixing desk's platform is in the rear pit, which therefore holds fewer than the front one.
    pits = [
        {"id": "FLOOR_A", "name": "Standing A (front)", "kind": "general", "price_cents": WON["STANDING"], "capacity": 1300},
        {"id": "FLOOR_B", "name": "Standing B (rear)", "kind": "general", "price_cents": WON["STANDING"], "capacity": 1100},
    ]
    lower = [lower_section(n) for n in range(101, 125) if n not in (101, 102, 124)]
    club = [club_section(n) for n in range(201, 225) if n not in (201, 202, 224)]
    upper = [upper_section(n) for n in range(401, 431) if n not in (401, 402, 430)]
    return {
        "name": "Countdown 2027: Hangang Light Parade",
        "venue": "Hangang Arena, Seoul",
        "starts_at": "2027-12-31T13:00:00Z",
        "time_zone": "Asia/Seoul",
        "currency": "KRW",
        "state": "on_sale",
        "sale": {"opens_at": "2026-01-01T00:00:00Z", "closes_at": "2027-12-31T12:00:00Z"},
        "hold_seconds": 600,
        "extend_seconds": 0,
        "max_hold_seconds": 600,
        # Korean sellers take returns until the day before the show.
        "cancellable_until": "2027-12-30T08:00:00Z",
        "max_per_customer": 8,
        "sections": pits + lower + club + upper,
    }


def balcony(name, label, price, rows):
    """One part of the club's balcony."""
    return {"id": name, "name": label, "kind": "seated", "price_cents": price, "rows": rows}


def club():
    """A converted theatre: standing where the stalls were, the horseshoe balcony still seated and numbered as a theatre."""
    # Theatre custom: odd numbers on the left, even on the right, both counted outwards from the centre block, whose own
    # seats are 101, 102, … So 1 and 3 are neighbours, and 1 and 2 sit on opposite sides of the house.
    left = [row("A", range(1, 19, 2)), row("B", range(1, 17, 2)), row("C", range(1, 11, 2))]
    right = [row("A", range(2, 20, 2)), row("B", range(2, 18, 2)), row("C", range(2, 12, 2))]
    centre = [
        row("A", range(101, 113)),
        row("B", range(101, 114)),
        # The stairs come up behind row B, and the lighting desk stands beside them.
        row("C", without(range(101, 115), 106, 109)),
        row("D", without(range(101, 115), 106, 109)),
        # Bar stools along the back wall.
        row("BAR", [f"S{n}" for n in range(1, 9)]),
    ]
    # Two boxes over the stage, sold by the chair; the chair nearest the wall was never put back.
    boxes = [row("L", ["1", "2", "4"]), row("R", ["1", "2", "4"])]
    return {
        "name": "Nachtlicht: Club Night",
        "venue": "Kino Aurora, Berlin",
        "starts_at": "2029-05-04T20:00:00Z",
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "state": "on_sale",
        "sale": {"opens_at": "2026-01-01T00:00:00Z", "closes_at": "2029-05-04T22:00:00Z"},
        "hold_seconds": 600,
        "extend_seconds": 300,
        "max_hold_seconds": 900,
        "cancellable_until": None,
        "sections": [
            {"id": "FLOOR", "name": "Floor (standing)", "kind": "general", "price_cents": 2800, "capacity": 200},
            balcony("BAL_L", "Balcony left", 3500, left),
            balcony("BAL_C", "Balcony centre", 4200, centre),
            balcony("BAL_R", "Balcony right", 3500, right),
            balcony("BOX", "Stage boxes", 5500, boxes),
        ],
    }


def dump(value):
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


def render(event):
    """The document with one row a line, so that a changed row is a one-line diff."""
    lines = [f"  {dump(key)}: {dump(value)}," for key, value in event.items() if key != "sections"]
    sections = []
    for part in event["sections"]:
        if "rows" not in part:
            sections.append(f"    {dump(part)}")
            continue
        head = ", ".join(f"{dump(key)}: {dump(value)}" for key, value in part.items() if key != "rows")
        rows = ",\n".join(f"      {dump(one)}" for one in part["rows"])
        sections.append(f'    {{{head}, "rows": [\n{rows}\n    ]}}')
    return "{\n" + "\n".join(lines) + '\n  "sections": [\n' + ",\n".join(sections) + "\n  ]\n}\n"


def summary(event):
    """Seats, places and sections, for the person who runs the script."""
    seats = sum(len(one["seats"]) if isinstance(one["seats"], list) else one["seats"]
                for part in event["sections"] for one in part.get("rows", []))
    places = sum(part.get("capacity", 0) for part in event["sections"])
    return f"{len(event['sections'])} sections, {seats} numbered seats, {places} standing places"


def main():
    """Writes or checks both files."""
    wrong = 0
    for name, event in (("arena.json", arena()), ("club.json", club())):
        text = render(event)
        path = HERE / name
        if "--check" in sys.argv[1:]:
            same = path.is_file() and path.read_text(encoding="utf-8") == text
            wrong += not same
            print(f"{name}: {'up to date' if same else 'differs: run make_venues.py'}")
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{name}: {summary(event)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
