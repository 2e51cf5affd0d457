"""Files as hands, disks and attackers leave them: edited JSON, flipped and cut bytes."""

import copy
import json
import random

WEIRD = (
    None,
    True,
    -1,
    0,
    3,
    10**400,
    -(2**63),
    0.5,
    "",
    "x",
    "../../x",
    "/etc/passwd",
    "\ud800",
    "a\nb\x1b[31m",
    [],
    {},
    [[]],
    [None],
    {"": None},
    ["x"] * 50,
    json.loads("[" * 60 + "]" * 60),
    float("nan"),
    float("inf"),
)
_NOT_UTF_8 = b"\xff\xfe{\x80"


def _places(data, here=()):
    """Lists the places of all values within lists and objects."""
    held = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in held:
        yield (*here, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*here, key))


def _holder(data, place):
    for key in place[:-1]:
        data = data[key]
    return data


def edited(data, draw: random.Random):
    """Changes one to three values of plain data: another type, missing, twice, swapped, nested."""
    data = copy.deepcopy(data)
    for _ in range(draw.randint(1, 3)):
        places = list(_places(data)) if isinstance(data, dict | list) else []
        if not places:
            return draw.choice(WEIRD)
        place = draw.choice(places)
        holder, key, kind = _holder(data, place), place[-1], draw.random()
        if kind < 0.2:
            del holder[key]
        elif kind < 0.3:
            holder[key] = [holder[key]]
        elif kind < 0.4:
            other = draw.choice(places)
            holder[key] = copy.deepcopy(_holder(data, other)[other[-1]])
        elif kind < 0.5 and isinstance(holder[key], list):
            holder[key] = holder[key][::-1] + holder[key][:1]
        elif kind < 0.55 and isinstance(holder, dict):
            holder["another"] = holder.pop(key)
        else:
            holder[key] = copy.deepcopy(draw.choice(WEIRD))
    return draw.choice(WEIRD) if draw.random() < 0.03 else data


def edited_json(content: bytes, draw: random.Random) -> bytes:
    """Changes a JSON file, or one of the lines of a journal."""
    kind = draw.random()
    if kind < 0.1:
        return flipped(content, draw)
    if kind < 0.15:
        return _NOT_UTF_8 + content
    try:
        return json.dumps(edited(json.loads(content), draw)).encode()
    except ValueError:
        lines = content.splitlines(keepends=True)
        place = draw.randrange(len(lines))
        try:
            lines[place] = json.dumps(edited(json.loads(lines[place]), draw)).encode() + b"\n"
        except ValueError:
            lines[place] = flipped(lines[place], draw)
        return b"".join(lines)


def flipped(content: bytes, draw: random.Random) -> bytes:
    """Flips bits, or cuts, repeats or fills a part."""
    data, kind = bytearray(content), draw.random()
    if not data:
        return b"\0"
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice((1, 2, 8, 64, 1000)))
    if kind < 0.5:
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind < 0.65:
        del data[start:]
    elif kind < 0.75:
        del data[start:end]
    elif kind < 0.85:
        data[start:start] = data[start:end]
    else:
        data[start:end] = bytes(end - start)
    return bytes(data)
