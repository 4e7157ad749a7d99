"""Draws `timing.svg`: `python deploy/plc/timing.py > deploy/plc/timing.svg`. Nothing but the standard library."""

import sys
from dataclasses import dataclass
from html import escape

LEFT, TOP, ROW, HIGH, SCALE = 190, 58, 50, 22, 1.55
"""Pixels: where time begins, where rows begin, a row, a pulse, a millisecond."""
WIDTH_MS = 480
GREEN, RED, GREY, INK = "#1a7f37", "#cf222e", "#8c959f", "#1f2328"


@dataclass(frozen=True)
class Pulse:
    """A signal that is high, or a word that holds, from one moment to another, in milliseconds."""

    start: float
    end: float
    text: str = ""
    colour: str = INK


PLC, GATEWAY = "PLC", "gateway"
ROWS: tuple[tuple[str, str, tuple[Pulse, ...]], ...] = (
    (PLC, "part at the camera", (Pulse(20, 60), Pulse(220, 260))),
    (
        PLC,
        "command block",
        (
            Pulse(24, 126, "7: trigger 41"),
            Pulse(126, 224, "8: acknowledge 18"),
            Pulse(224, 440, "9: trigger 42"),
            Pulse(440, WIDTH_MS, "10"),
        ),
    ),
    (
        GATEWAY,
        "taken",
        (
            Pulse(0, 30, "6"),
            Pulse(30, 132, "7"),
            Pulse(132, 230, "8"),
            Pulse(230, 446, "9"),
            Pulse(446, WIDTH_MS, "10"),
        ),
    ),
    (GATEWAY, "timer of part 41", (Pulse(28, 116, "runs"),)),
    (GATEWAY, "timer of part 42", (Pulse(228, 430, "runs out", RED),)),
    ("Redis", "verdict of view top", (Pulse(84, 90, "PASS", GREEN),)),
    ("Redis", "verdict of view side", (Pulse(110, 116, "PASS", GREEN),)),
    (
        GATEWAY,
        "counter, and its slot",
        (
            Pulse(0, 116, "17"),
            Pulse(116, 430, "18: part 41, PASS", GREEN),
            Pulse(430, WIDTH_MS, "19", RED),
        ),
    ),
    (PLC, "gate is open", (Pulse(132, 212, "for part 41", GREEN),)),
)
NOTES = (
    (28, 0, "the gateway has read the trigger: the timer runs"),
    (116, 1, "every view has its PASS: result 18 opens"),
    (430, 0, "no verdict: result 19 rejects"),
)


def draw() -> str:
    """The picture."""
    width, bottom = LEFT + WIDTH_MS * SCALE + 20, TOP + ROW * len(ROWS)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {bottom + 44:g}" font-family="sans-serif">',
        "<title>Two parts: one opens the gate, one gets no verdict in time</title>",
        f'<rect width="{width:g}" height="{bottom + 44:g}" fill="white"/>',
    ]
    for at, line, text in NOTES:
        x = LEFT + at * SCALE
        anchor = "end" if at > WIDTH_MS * 0.8 else "start"
        y = TOP - 40 + 18 * line
        lines += [
            f'<path d="M{x:g} {y + 4}V{bottom}" stroke="{GREY}" stroke-dasharray="3 4" fill="none"/>',
            f'<text x="{x:g}" y="{y}" font-size="12" fill="{INK}" text-anchor="{anchor}">{escape(text)}</text>',
        ]
    for number, (who, name, pulses) in enumerate(ROWS):
        lines += _row(TOP + ROW * (number + 1) - 14, who, name, pulses)
    lines += _scale(bottom)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _row(y: int, who: str, name: str, pulses: tuple[Pulse, ...]) -> list[str]:
    end = LEFT + WIDTH_MS * SCALE
    lines = [
        f'<text x="{LEFT - 12}" y="{y - 6}" font-size="14" fill="{INK}" text-anchor="end">{escape(name)}</text>',
        f'<text x="{LEFT - 12}" y="{y + 7}" font-size="10" fill="{GREY}" text-anchor="end">{escape(who)}</text>',
        f'<path d="M{LEFT} {y}H{end:g}" stroke="{GREY}" fill="none"/>',
    ]
    for pulse in pulses:
        x, wide, fill = LEFT + pulse.start * SCALE, (pulse.end - pulse.start) * SCALE, pulse.colour
        box = f'x="{x:g}" y="{y - HIGH}" width="{wide:g}" height="{HIGH}"'
        lines.append(f'<rect {box} fill="{fill}" fill-opacity="0.12" stroke="{fill}"/>')
        inside = len(pulse.text) * 6 < wide
        at, anchor = (x + wide / 2, "middle") if inside else (x + wide + 4, "start")
        place = f'x="{at:g}" y="{y - 7}" text-anchor="{anchor}"'
        lines.append(f'<text {place} font-size="12" fill="{fill}">{escape(pulse.text)}</text>')
    return lines


def _scale(bottom: int) -> list[str]:
    y = bottom + 14
    lines = [f'<path d="M{LEFT} {y}H{LEFT + WIDTH_MS * SCALE:g}" stroke="{GREY}" fill="none"/>']
    for at in range(0, WIDTH_MS, 100):
        x = LEFT + at * SCALE
        lines.append(f'<path d="M{x:g} {y}v6" stroke="{GREY}"/>')
        lines.append(f'<text x="{x:g}" y="{y + 20}" font-size="11" fill="{GREY}" text-anchor="middle">{at} ms</text>')
    return lines


if __name__ == "__main__":
    sys.stdout.write(draw())
