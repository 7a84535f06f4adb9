# SPDX-License-Identifier: MIT
"""What the pages say that examples print is what they print, but for 5 % of a number or 2 of its last digit:
check_outputs.py REPOSITORY EXAMPLE..."""
import pathlib, re, subprocess, sys, tempfile

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
root = pathlib.Path(sys.argv[1])


def alike(said, printed):
    if NUMBER.split(said) != NUMBER.split(printed):
        return False
    pairs = zip(NUMBER.findall(said), NUMBER.findall(printed))
    return all(abs(float(a) - float(b)) <= max(0.05 * abs(float(b)), 2 * 10.0 ** -len(a.partition(".")[2])) for a, b in pairs)


with tempfile.TemporaryDirectory() as folder:  # where image.pgm goes
    outputs = [subprocess.run([str(pathlib.Path(e).resolve())], cwd=folder, check=True, capture_output=True, text=True).stdout.split()
               for e in sys.argv[2:]]
pages = [root / "README.md"] + [root / f"docs/{name}.md" for name in ("start", "choosing", "ranks", "storage", "extending")]
bad, count = [], 0
for page in pages:
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.S | re.M):
        said = block.split()
        # The README has tables of nsvd-llm besides, which take minutes to make.
        if language or (page.name == "README.md" and said[0] != "rank"):
            continue
        count += 1
        if not any(len(said) <= len(rest) and all(map(alike, said, rest)) for o in outputs for rest in (o[i:] for i in range(len(o)))):
            bad.append(f"{page.name}: printed by no example: {block.splitlines()[0]} ...")
print(*bad, f"{count} outputs in pages, {len(bad)} that are not printed", sep="\n")
sys.exit(bool(bad) or count < 6)
