# SPDX-License-Identifier: MIT
"""Draws the pictures of the guide: python3 docs/images/draw.py. `python3 docs/images/draw.py image.pgm` makes image.png
of what examples/image.cpp has written."""
import math, pathlib, random, struct, sys, zlib

HERE = pathlib.Path(__file__).parent
INK, GREY, BLUE, ORANGE, GREEN = "#222222", "#8a8f98", "#3b6fb6", "#d9822b", "#3f9142"


class Picture:
    def __init__(self, width, height, title):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                      f'height="{height}" font-family="Helvetica, Arial, sans-serif" font-size="14">',
                      f"<title>{title}</title>", f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>']

    def add(self, tag, text=None, **attributes):
        shown = " ".join(f'{k.replace("_", "-")}="{round(v, 1) if isinstance(v, float) else v}"' for k, v in attributes.items())
        self.parts.append(f"<{tag} {shown}/>" if text is None else f"<{tag} {shown}>{text}</{tag}>")

    def box(self, x, y, w, h, fill, label="", dashed=False):
        self.add("rect", x=x, y=y, width=w, height=h, fill=fill, fill_opacity=0.25, stroke=fill, stroke_width=1.5,
                 **({"stroke_dasharray": "5 4"} if dashed else {}))
        if label:
            self.text(x + w / 2, y + h / 2 + 5, label)

    def text(self, x, y, text, fill=INK, anchor="middle", size=14):
        self.add("text", text, x=x, y=y, text_anchor=anchor, fill=fill, font_size=size)

    def line(self, *points, stroke=INK, width=1.5, dash=None, arrow=False):
        flat = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.add("polyline", points=flat, fill="none", stroke=stroke, stroke_width=width,
                 **({"stroke_dasharray": dash} if dash else {}))
        if arrow:
            (a, b), (x, y) = points[-2:]
            t = math.atan2(y - b, x - a)
            tips = " ".join(f"{x - 9 * math.cos(t + s):.1f},{y - 9 * math.sin(t + s):.1f}" for s in (-0.4, 0.4))
            self.add("polygon", points=f"{x:.1f},{y:.1f} {tips}", fill=stroke)

    def save(self, name):
        (HERE / name).write_text("\n".join([*self.parts, "</svg>", ""]))


def factors():
    p = Picture(640, 200, "W is approximately Q times Q-transposed W")
    p.box(40, 30, 170, 130, BLUE, "W")
    p.text(125, 182, "m × n", GREY)
    p.text(250, 100, "≈", size=24)
    p.box(290, 30, 45, 130, ORANGE, "Q")
    p.text(312, 182, "m × k", GREY)
    p.text(365, 100, "·", size=24)
    p.box(395, 72, 170, 45, GREEN, "Qᵀ W")
    p.text(480, 140, "k × n", GREY)
    p.save("factors.svg")


def metric():
    p = Picture(640, 280, "Two rows of W and the inputs they meet")
    random.seed(3)
    for left, title, chosen in (40, "metric I: keeps the longer row", 0), (350, "metric C: keeps the row that inputs reach", 1):
        x, y = left + 125, 140
        if chosen:
            for _ in range(260):
                p.add("circle", cx=x + 9 * random.gauss(0, 1), cy=y + 42 * random.gauss(0, 1) * 0.9, r=1.6, fill=GREY,
                      fill_opacity=0.7)
        else:
            p.add("circle", cx=x, cy=y, r=60, fill="none", stroke=GREY, stroke_dasharray="4 4")
        p.line((x - 115, y), (x + 115, y), stroke="#d0d3d8", width=1)
        p.line((x, y - 100), (x, y + 100), stroke="#d0d3d8", width=1)
        for i, end in enumerate(((x + 105, y), (x, y - 50))):
            p.line((x, y), end, stroke=ORANGE if i == chosen else BLUE, width=3 if i == chosen else 2, arrow=True)
        p.text(x + 96, y - 10, "w₁", ORANGE if chosen == 0 else BLUE)
        p.text(x + 20, y - 42, "w₂", ORANGE if chosen == 1 else BLUE)
        p.text(x, 268, title, size=13)
    p.text(475 + 60, 60, "inputs x", GREY, size=13)
    p.save("metric.svg")


def stages():
    p = Picture(640, 250, "Two stages: k1 directions in the metric C, k2 of the residual in the metric I")
    first = [math.exp(-0.22 * i) for i in range(20)]
    second = [0.34 * math.exp(-0.09 * i) for i in range(12)]
    for left, values, kept, colour, title in ((40, first, 8, ORANGE, "W in the metric C"),
                                              (400, second, 3, GREEN, "what is left, in the metric I")):
        for i, v in enumerate(values):
            p.add("rect", x=left + 14.0 * i, y=190 - 150 * v, width=10.0, height=150 * v, fill=colour if i < kept else "#d0d3d8")
        p.line((left - 6, 190), (left + 14 * len(values) + 4, 190), stroke=GREY, width=1)
        cut = left + 14 * kept - 2
        p.line((cut, 40), (cut, 196), stroke=INK, width=1, dash="4 3")
        p.text(left + 7 * len(values), 30, title)
        p.text(left + 7 * kept, 214, "k₁" if left == 40 else "k₂", colour)
    p.line((335, 115), (385, 115), stroke=GREY, arrow=True)
    p.text(320, 240, "W′ = [Q₁ Q₂] [Q₁ Q₂]ᵀ W,  k₁ + k₂ = k")
    p.save("stages.svg")


def storage():
    n = 150
    plain, pivoted = round(0.35 * n), round((1 - math.sqrt(0.3)) * n)
    p = Picture(760, 250, "Numbers stored: all, of two factors, of pivoted rows")
    p.box(30, 40, n, n, BLUE, "W")
    p.text(30 + n / 2, 28, "dense: m·n")
    p.box(225, 40, plain, n, ORANGE, "left")
    p.box(300, 40, n, plain, GREEN, "right")
    p.text(338, 28, "factors: k(m + n)")
    p.text(338, 215, f"k = 0.35 n", GREY)
    p.box(500, 40, n, pivoted, GREEN, "k rows of W′")
    p.box(500, 40 + pivoted + 12, pivoted, n - pivoted, ORANGE, "")
    p.text(500 + pivoted / 2, 40 + pivoted + 12 + (n - pivoted) / 2 + 5, "others", size=13)
    p.text(575, 28, "pivoted: k(m + n − k)")
    p.text(600, 232, "k = 0.45 n, at the same 70 % of m·n", GREY)
    p.save("storage.svg")


def hull():
    p = Picture(640, 270, "Greedy allocation: the steepest step of either layer first")
    order = []
    for name, left, fall, colour in ("layer A", 50, 0.75, ORANGE), ("layer B", 350, 0.28, BLUE):
        curve = [math.exp(-fall * i) for i in range(8)]
        points = [(left + 34.0 * i, 215 - 160 * v) for i, v in enumerate(curve)]
        p.line((left, 40), (left, 215), (left + 255, 215), stroke=GREY, width=1)
        p.line(*points, stroke=colour, width=2)
        for x, y in points:
            p.add("circle", cx=x, cy=y, r=3.5, fill=colour)
        p.text(left + 140, 36, name)
        p.text(left + 200, 236, "numbers", GREY, size=12)
        p.text(left - 6, 32, "loss", GREY, size=12)
        order += [(curve[i] - curve[i + 1], (points[i][0] + points[i + 1][0]) / 2, (points[i][1] + points[i + 1][1]) / 2, colour)
                  for i in range(7)]
    for number, (_, x, y, colour) in enumerate(sorted(order, reverse=True)[:7], 1):
        p.text(x + 12, y - 6, str(number), colour, size=13)
    p.text(320, 262, "steps in the order in which a budget takes them", size=13)
    p.save("hull.svg")


def png(pgm):
    """The PGM as a PNG of the same name, in grey."""
    data = pathlib.Path(pgm).read_bytes()
    _, size, _, pixels = data.split(b"\n", 3)
    width, height = map(int, size.split())

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = b"".join(b"\0" + pixels[i * width:(i + 1) * width] for i in range(height))
    (HERE / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
                                     chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


for draw in factors, metric, stages, storage, hull:
    draw()
for argument in sys.argv[1:]:
    png(argument)
