"""What no schema can say of a request that is to be accepted, and schemathesis therefore cannot know.

Only requests meant as valid are touched: those meant as invalid have to be refused as they are. What is put in follows from
the request alone, so that a seed gives the same requests again.
"""

import hashlib
import json
from datetime import datetime
from pathlib import Path

import schemathesis
from hypothesis import strategies
from schemathesis import GenerationMode

VENUES = Path(__file__).resolve().parent.parent / "local/venues"
ZONES = ["America/St_Johns", "Asia/Seoul", "Europe/Berlin", "UTC"]
MAX_SEATS = 2_000  # of an event that is published

schemathesis.openapi.format("time-zone", strategies.sampled_from(ZONES))


def labels(seats):
    return [str(number) for number in range(1, seats + 1)] if isinstance(seats, int) else seats


def seats_of(section):
    rows = section.get("rows") or []
    return [f"{section['id']}-{row['id']}-{seat}" for row in rows for seat in labels(row["seats"])]


SECTIONS = {path.stem: json.loads(path.read_text())["sections"] for path in VENUES.glob("*.json")}
SEATS = {event: [seat for section in sections for seat in seats_of(section)] for event, sections in SECTIONS.items()}


@schemathesis.hook
def map_body(context, body):
    return whole(body)


def whole(value):
    """`value` with 10.0 as 10. They are one number to a schema; the API takes the second, for money is never a float."""
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@schemathesis.hook
def before_call(context, case, kwargs):
    mend = MENDING.get(case.operation.definition.raw.get("operationId"))
    if mend and case.meta and case.meta.generation.mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
        mend(case)


def reserve(case):
    """Asks for seats there are, since most made-up names are nobody's, and under a key of its own: another body under a
    key is refused."""
    event = case.path_parameters["event_id"]
    key = case.headers["Idempotency-Key"]
    drawn = int(hashlib.sha256(json.dumps([event, key, case.body], sort_keys=True).encode()).hexdigest(), 16)
    if event in SECTIONS and "section" in case.body:
        sections = SECTIONS[event]
        case.body["section"] = sections[drawn % len(sections)]["id"]
    elif event in SECTIONS and "seats" in case.body:
        wanted = len(case.body["seats"])
        first = drawn % (len(SEATS[event]) - wanted)
        case.body["seats"] = SEATS[event][first : first + wanted]
    case.headers["Idempotency-Key"] = f"{drawn:x}"


def put_block(case):
    """Blocks seats there are."""
    seats = SEATS.get(case.path_parameters["event_id"])
    if seats:
        case.body["seats"] = seats[-len(case.body["seats"]) or len(seats) :]


def confirm(case):
    """Names a payment. Only the owner of what costs nothing goes without, and he is told so by his token, not by a schema."""
    case.body["payment_reference"] = case.body.get("payment_reference") or "payment-1"


def publish_event(case):
    """Closes sales after they open, lets holds last as long as they begin, names nothing twice, and keeps halls small."""
    document = case.body
    if case.path_parameters["event_id"] in SECTIONS:
        case.path_parameters["event_id"] = "matinee"  # the venues stay as they are
    if not opens_before_it_closes(document["sale"]):
        document["sale"] = {"opens_at": "2026-01-01T00:00:00Z", "closes_at": "2036-01-01T00:00:00Z"}
    if document.get("max_hold_seconds") is not None:
        document["max_hold_seconds"] = max(document["max_hold_seconds"], document["hold_seconds"])
    document["sections"] = one_of_each(document["sections"])
    for section in document["sections"]:
        if "rows" in section:
            section["rows"] = one_of_each(section["rows"])
    # Halls of some size would be most of the run, and are published by other tests.
    if sum(size(section) for section in document["sections"]) > MAX_SEATS:
        document["sections"] = [smaller(section) for section in document["sections"][:20]]


def count(row):
    return row["seats"] if isinstance(row["seats"], int) else len(row["seats"])


def size(section):
    return section["capacity"] if "capacity" in section else sum(count(row) for row in section["rows"])


def smaller(section):
    if "capacity" in section:
        return {**section, "capacity": 100}
    return {**section, "rows": [{**section["rows"][0], "seats": 100}]}


def opens_before_it_closes(sale):
    try:
        return datetime.fromisoformat(sale["opens_at"]) < datetime.fromisoformat(sale["closes_at"])
    except ValueError:
        return False  # a moment that Python cannot read


def one_of_each(named):
    return list({entry["id"]: entry for entry in named}.values())


MENDING = {"confirm": confirm, "publish_event": publish_event, "put_block": put_block, "reserve": reserve}
