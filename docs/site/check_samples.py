# SPDX-License-Identifier: MIT
"""Every sample of C++ or Python that a page has in full is a part of a file in examples/, and no example is longer than 80
lines: check_samples.py REPOSITORY"""
import pathlib, re, sys

root = pathlib.Path(sys.argv[1])
sources = {path.name: path.read_text(encoding="utf-8") for ending in ("*.cpp", "python/*.py") for path in (root / "examples").glob(ending)}
bad, count = [], 0
for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
    for language, sample in re.findall(r"^```(cpp|python)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.S | re.M):
        count += 1
        if not any(sample in source for source in sources.values()):
            bad.append(f"{page.name}: in no example: {sample.splitlines()[0]}")
bad += [f"{name}: {text.count(chr(10))} lines" for name, text in sources.items() if name.endswith("cpp") and text.count("\n") > 80]
print(*bad, f"{count} samples in pages, {len(sources)} examples, {len(bad)} to mend", sep="\n")
sys.exit(bool(bad))
