#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes one JSON file, a markdown table and SVG plots of what the benchmarks wrote.

Usage: report.py RAW --output FOLDER [--update-readme README.md]

RAW is a folder of Google Benchmark's JSON files, or one file that an earlier call has made of them. With
--update-readme the text between `<!-- benchmarks:begin -->` and `<!-- benchmarks:end -->` becomes the table and the
figure; paths to figures are relative to the README.
"""
import argparse
import json
import os
import pathlib
import re

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
LEVELS = {"exact": 1e-6, "balanced": 5e-4, "fast": 1e-2}
OURS, OTHERS = "#0b6e4f", "#b3541e"


# ---- reading -------------------------------------------------------------------------------------------------------

def clean_name(name):
    return re.sub(r"/(iterations|repeats|min_time):[^/_]*|/manual_time|_(median|cv)$", "", name)


def read_program(path):
    """The context of a raw file and its rows: medians, with the spread (cv) of the repetitions beside them."""
    try:
        data = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}, []  # no row matched the filter
    spreads = {clean_name(b["name"]): b["real_time"] for b in data["benchmarks"] if b.get("aggregate_name") == "cv"}
    rows = []
    for b in data["benchmarks"]:
        if b.get("aggregate_name", "median") != "median":
            continue
        name = clean_name(b["name"])
        row = {"program": path.stem, "name": name}
        if b.get("error_occurred"):
            row["error"] = b["error_message"]
        else:
            row |= {"seconds": b["real_time"], "repetitions": b.get("repetitions", 1)}
            if name in spreads:
                row["spread"] = spreads[name]
            known = {"family_index", "per_family_instance_index", "repetitions", "repetition_index", "threads",
                     "iterations", "real_time", "cpu_time"}
            row |= {k: v for k, v in b.items() if isinstance(v, (int, float)) and k not in known}
            row |= dict(item.split("=", 1) for item in b.get("label", "").split("|") if "=" in item)
        rows.append(row)
    return data.get("context", {}), rows


def gather(raw):
    if raw.is_file():
        return json.loads(raw.read_text())
    context, rows = {}, []
    for path in sorted(raw.glob("*.json")):
        found, more = read_program(path)
        if "cpu" in found and not context:
            kept = ("date", "cpu", "num_cpus", "compiler", "blas", "blas_threads", "nsvd", "set")
            context = {k: found[k] for k in kept if k in found}
        rows += more
    result = {"context": context, "rows": rows}
    compile_time = raw / "compile_time.txt"
    if compile_time.exists():
        result["compile_time"] = compile_time.read_text()
    return result


def file_name(context):
    words = f"{context.get('cpu', 'unknown')} {context.get('blas_threads', '')} threads"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


# ---- tables --------------------------------------------------------------------------------------------------------

def number(value, digits=3):
    if value is None:
        return ""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f"{value:.{digits}g}"
        return f"{value:.0f}" if "e" in text else text
    return f"{value:.1e}"


def excess(value):
    """What is above 1, at the precision that it has: 1.00032 → "+3.2e-04"."""
    if value is None:
        return ""
    over = value - 1.0
    return "0" if abs(over) < 1e-9 else f"{over:+.1e}"


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])


def shape(row):
    return f"{row['rows']:.0f}×{row['cols']:.0f}" if "rows" in row else row["name"].split("/")[1]


def layer_name(row):
    """"4096×4096 float NSVD-I 30 %"; a block of layers by its model, a real matrix by its own name too."""
    parts = row["name"].split("/")
    compression = f"{row['compression'] * 100:.0f} %"
    if parts[0] == "block":
        return f"{parts[1]}, linear layers of a block, {row['scalar']} {parts[2]} {compression}"
    if "outliers:" not in row["name"]:
        return f"{parts[2]} {shape(row)} {row['scalar']} {parts[0]} {compression}"
    factor = f", outliers {row['outliers']:.0f}×" if row["outliers"] else ", no outliers"
    return f"{shape(row)} {row['scalar']} {parts[0]} {compression}{factor}"


def pairs(rows):
    """(ours, published or None) of every pipeline."""
    published = {r["name"].rsplit("/", 1)[0]: r for r in rows if r["name"].endswith("/published") and "seconds" in r}
    for r in rows:
        if r["program"] == "pipelines" and "seconds" in r and not r["name"].endswith("/published"):
            yield r, published.get(r["name"].rsplit("/", 1)[0])


def pipeline_table(rows):
    header = ["layer", "k", "accuracy", "published, s", "ours, s", "faster", "in products", "of a plain SVD",
              "GFLOP/s", "weighted error over optimum", "plain error over optimum"]
    lines = []
    for ours, theirs in pairs(rows):
        ratio = ours.get("published_over_this")
        # The time of a block was not measured in one piece, and neither was that of its published pipeline.
        seconds = theirs["seconds"] if theirs else ratio * ours["seconds"] if ratio else None
        lines.append([layer_name(ours), f"{ours['k']:.0f}" if "k" in ours else "", ours.get("accuracy", "balanced"),
                      number(seconds), number(ours["seconds"]), f"**{number(ratio)}×**" if ratio else "",
                      number(ours.get("products")), number(ours.get("times_plain_svd")), number(ours.get("gflops")),
                      excess(ours.get("weighted_over_optimum")), excess(ours.get("plain_over_optimum"))])
    return markdown(header, lines)


def apply_table(rows):
    lines = [[shape(r), r["scalar"], f"{r['k']:.0f}", f"{r['tokens']:.0f}", number(r["seconds"] * 1e3),
              number(r["dense_seconds"] * 1e3), f"**{number(r['times_dense'])}**"]
             for r in rows if r["program"] == "apply" and "seconds" in r]
    return markdown(["W", "scalar", "k", "columns of X", "d · X, ms", "W · X, ms", "ratio"], lines) if lines else ""


def calibration_table(rows):
    lines = [[f"{r['rows']:.0f}", number(r["seconds"]), number(r["gflops"]), number(r["fraction_of_dsyrk"]),
              number(r["fraction_of_ssyrk"])] for r in rows if r["program"] == "calibration" and "seconds" in r]
    header = ["channels", "2048 float tokens, s", "GFLOP/s", "of dsyrk", "of ssyrk"]
    return markdown(header, lines) if lines else ""


def every_row(rows):
    """One table with all that every row has; what only some have stays in the JSON."""
    header = ["program", "row", "shape", "scalar", "k", "threads", "time, s", "±", "of a plain SVD", "in products",
              "GFLOP/s", "weighted over optimum", "plain over optimum", "solver"]
    lines = []
    for r in rows:
        if "error" in r:
            lines.append([r["program"], r["name"]] + [""] * 11 + ["failed: " + r["error"]])
            continue
        spread = f"{r['spread'] * 100:.0f} %" if "spread" in r else ""
        lines.append([r["program"], r["name"], shape(r) if "rows" in r else "", r.get("scalar", ""),
                      f"{r['k']:.0f}" if "k" in r else "", number(r.get("blas_threads")), number(r["seconds"]), spread,
                      number(r.get("times_plain_svd")), number(r.get("products")), number(r.get("gflops")),
                      excess(r.get("weighted_over_optimum")), excess(r.get("plain_over_optimum")),
                      r.get("solver", "")])
    return markdown(header, lines)


def machine(context):
    return (f"Measured {context.get('date', '')[:10]} on {context.get('cpu')} with {context.get('blas_threads')} BLAS "
            f"threads, {context.get('blas')}, {context.get('compiler')}, nsvd {context.get('nsvd')}.")


def summary(data, figures):
    rows = data["rows"]
    text = [pipeline_table(rows)]
    text += [f"![{title}]({path})" for title, path in figures]
    for title, table in (("Applying the factors at 30 % compression, next to the dense product:", apply_table(rows)),
                         ("`calibration::update`, next to the BLAS:", calibration_table(rows))):
        if table:
            text.append(title + "\n\n" + table)
    text.append(machine(data["context"]) + " \"Published\" is Cholesky, full `gesdd`, triangular solve (for NSVD and "
                "then a second `gesdd`) in the same precision and process; GFLOP/s by its flops; a product is one n×n "
                "`gemm` of the smaller side; errors are relative to those of the same stages solved in double.")
    return "\n\n".join(text)


# ---- plots ---------------------------------------------------------------------------------------------------------

def pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    # Text stays text, the background is white also where the page is dark, and equal input gives equal files.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "nsvd", "font.size": 11, "figure.facecolor": "white",
                         "axes.facecolor": "white", "font.family": "sans-serif", "axes.spines.top": False,
                         "axes.spines.right": False, "axes.axisbelow": True})
    return plt


def save(plt, figure, path):
    figure.savefig(path, metadata={"Date": None}, facecolor="white", bbox_inches="tight")
    plt.close(figure)


def plot_bars(rows, path):
    """Speed-up over the published pipeline, and both times in products."""
    shown = [(o, p) for o, p in pairs(rows) if o.get("published_over_this")][::-1]
    if not shown:
        return False
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 1.4 + 0.42 * len(shown)), sharey=True)
    at = range(len(shown))
    left.barh(at, [o["published_over_this"] for o, _ in shown], color=OURS)
    for i, (o, _) in zip(at, shown):
        left.text(o["published_over_this"], i, f" {o['published_over_this']:.1f}×", va="center")
    left.set_yticks(list(at), [layer_name(o) + (f", {o['accuracy']}" if o.get("accuracy", "balanced") != "balanced"
                                               else "") for o, _ in shown])
    left.axvline(1.0, color="#555555", linewidth=1)
    left.set_xlabel("times faster than published")
    left.margins(x=0.12)
    for offset, color, label, which in ((0.2, OTHERS, "published", 1), (-0.2, OURS, "nsvd", 0)):
        values = [(i + offset, pair[which]["products"]) for i, pair in zip(at, shown)
                  if pair[which] and "products" in pair[which]]
        right.barh([y for y, _ in values], [v for _, v in values], height=0.38, color=color, label=label)
        for y, v in values:
            right.text(v, y, f" {v:.1f}", va="center", fontsize=9)
    right.set_xlabel("time, in n×n products (n the smaller side)")
    right.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.6 / len(shown)), ncols=2)
    right.margins(x=0.2)
    for axis in (left, right):
        axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    figure.tight_layout()
    save(plt, figure, path)
    return True


def worst(row):
    return max(row.get("weighted_over_optimum", 1.0), row.get("plain_over_optimum", 1.0)) - 1.0


def plot_time_against_error(rows, path):
    """Of every solver on the largest matrices it was given: time in products, error over the optimum."""
    found = [r for r in rows if r["program"] in ("solvers", "torch") and "seconds" in r and r.get("scalar") == "float"]
    if not found:
        return False
    kinds = [kind for kind in ("weights", "weighted") if any(r["name"].startswith(kind + "/") for r in found)]
    panels = []
    for kind in kinds:
        of_kind = [r for r in found if r["name"].startswith(kind + "/")]
        largest = max(min(r["rows"], r["cols"]) for r in of_kind)
        of_kind = [r for r in of_kind if r["rows"] == r["cols"] == largest]
        for k in sorted({r["k"] for r in of_kind}):
            panels.append((kind, k, [r for r in of_kind if r["k"] == k]))
    plt = pyplot()
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(6.2 * columns, 4.6 * lines), squeeze=False)
    floor = 1e-9
    for axis, (kind, k, of_panel) in zip(axes.flat, panels):
        # Torch has no time in products: the ratio of seconds to another row of the same matrix gives it.
        unit = next((r["seconds"] / r["products"] for r in of_panel if "products" in r), 1.0)
        for i, r in enumerate(sorted(of_panel, key=lambda r: r["seconds"])):
            ours = r["solver"].startswith("nsvd")
            x, y = r["seconds"] / unit, max(worst(r), floor)
            axis.plot(x, y, "o" if ours else "s", color=OURS if ours else OTHERS, markersize=7)
            # Neighbours at the floor would write over each other: every other name goes below.
            below = i % 2 == 1 and y < 1e-7
            axis.annotate(r["solver"], (x, y), textcoords="offset points", xytext=(5, -5 if below else 5), fontsize=9,
                          rotation=-25 if below else 25, rotation_mode="anchor", va="top" if below else "bottom")
        for level, bound in LEVELS.items():
            axis.axhline(bound, color="#888888", linewidth=0.8, linestyle="--")
            axis.text(0.995, bound, f"bound of {level}", transform=axis.get_yaxis_transform(), ha="right", va="bottom",
                      fontsize=8, color="#555555")
        n = of_panel[0]["rows"]
        what = "weights (flat)" if kind == "weights" else "weights × Cholesky factor (steep)"
        axis.set_title(f"{what}, {n:.0f}×{n:.0f} float, k = {k:.0f}", fontsize=11)
        axis.set(xscale="log", yscale="log", ylim=(floor / 30, 1.0), xlabel="time, in n×n products",
                 ylabel="error over optimum − 1  (floor 1e-9)")
        axis.margins(x=0.3)
        for which in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
            which(plt.FuncFormatter(lambda v, _: f"{v:g}" if f"{v:e}"[0] in "125" else ""))
        axis.grid(color="#e4e4e4", linewidth=0.6)
    for axis in list(axes.flat)[len(panels):]:
        axis.set_visible(False)
    figure.tight_layout()
    save(plt, figure, path)
    return True


# ---- all of it -----------------------------------------------------------------------------------------------------

def update_readme(path, text):
    page = path.read_text()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(f"{path}: wanted one line {BEGIN} and one {END}")
    before, rest = page.split(BEGIN)
    path.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--update-readme", type=pathlib.Path)
    arguments = parser.parse_args()

    data = gather(arguments.raw)
    if not data["rows"]:
        raise SystemExit(f"{arguments.raw}: no rows")
    out = arguments.output
    out.mkdir(parents=True, exist_ok=True)
    name = file_name(data["context"])
    (out / f"{name}.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    figures = []
    for title, suffix, plot in (("Times faster than the published pipeline", "pipelines", plot_bars),
                                ("Time against error", "time-error", plot_time_against_error)):
        path = out / f"{name}-{suffix}.svg"
        if plot(data["rows"], path):
            figures.append((title, path))

    def relative(folder):
        return [(title, os.path.relpath(path, folder)) for title, path in figures]

    page = [f"# Benchmarks: {name}", summary(data, relative(out)), "## Every row", every_row(data["rows"])]
    if "compile_time" in data:
        page += ["## Compile time", "```\n" + data["compile_time"] + "```"]
    (out / f"{name}.md").write_text("\n\n".join(page) + "\n")
    if arguments.update_readme:
        update_readme(arguments.update_readme, summary(data, relative(arguments.update_readme.resolve().parent)))
    print(pipeline_table(data["rows"]))
    print(f"\n{out / name}.json, .md, " + ", ".join(p.name for _, p in figures))


if __name__ == "__main__":
    main()
