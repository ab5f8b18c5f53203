#!/usr/bin/python3
"""Draws what types_bench measured: nanoseconds per operation over the number of elements, a panel for each structure.

    build/release/bench/types_bench 10000000 all bench/micro/results/types.json
    bench/micro/types_plot.py [types.json [types.png]]

Both scales are logarithmic: what is O(1) is level until caches are left behind, O(log N) rises a little, O(N) goes up
at 45 degrees, which a dotted line shows.
"""
import json
import math
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results"


def draw(axis, rows):
    sizes = [row["elements"] for row in rows]
    for name in rows[0]["ns"]:
        axis.plot(sizes, [row["ns"][name] for row in rows], marker="o", markersize=3, label=name)
    least = min(min(row["ns"].values()) for row in rows)
    axis.plot(sizes, [least * size / sizes[0] for size in sizes], ":", color="0.7", label="O(N)")
    forms = list(dict.fromkeys(row["form"] for row in rows))
    axis.set_title(f"{rows[0]['structure']} ({', '.join(forms)}), {rows[-1]['bytes_each']:.3g} B each")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(1, max(10000, 2 * max(max(row["ns"].values()) for row in rows)))
    axis.set_xlabel("elements")
    axis.set_ylabel("ns per operation")
    axis.grid(True, which="major", alpha=0.3)
    axis.legend(fontsize=7)


def main():
    source = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS / "types.json"
    target = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else RESULTS / "types.png"
    structures = {}
    for row in json.loads(source.read_text()):
        structures.setdefault(row["structure"], []).append(row)
    columns = 3
    lines = math.ceil(len(structures) / columns)
    figure, axes = plt.subplots(lines, columns, figsize=(5 * columns, 3.8 * lines), squeeze=False)
    for axis, rows in zip(axes.flat, structures.values()):
        draw(axis, rows)
    for axis in axes.flat[len(structures):]:
        axis.set_visible(False)
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main()
