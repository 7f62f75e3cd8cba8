"""A chapter that is quick to run and holds everything that a published page may hold."""

import shutil
from pathlib import Path

from signseg_utils.publishing.chapters import Chapter
from signseg_utils.publishing.publish import publish

NAME = "01_throwaway"
ROOT = Path(__file__).resolve().parents[1]

CHAPTER = """---
jupytext:
  formats: md:myst,ipynb
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Throw a line

Claim: a line is straight. See {numref}`line` and {eq}`slope`, or [](#target).

```{math}
:label: slope
y = a x
```

```{code-cell} ipython3
:tags: [parameters]

zoo: str = "shapes"  # zoo that is shown
seed: int = 0  # seed of the noise
slope: float = 1.0  # rise for each step
recompute: bool = False  # do not use stored results
results: str = ""  # folder of results
fail: bool = False  # raise an error
silent: bool = False  # write no ledger
```

```{code-cell} ipython3
import matplotlib.pyplot as plt
import numpy as np
from signseg_utils.chapter import ledger, parameters
from signseg_utils.chapter.results import record_audit

run = parameters.read(globals())
if run.fail:
    raise RuntimeError("asked to fail")
```

(target)=
## The line

```{code-cell} ipython3
---
mystnb:
  image:
    alt: A straight line that rises from left to right.
  figure:
    name: line
    caption: The line, with noise of seed 0.
---
x = np.linspace(0, 1, 20)
y = run.slope * x + 0.01 * np.random.default_rng(run.seed).normal(size=20)
fig, axes = plt.subplots(figsize=(5, 2.5))
axes.plot(x, y)
plt.show()
```

```{code-cell} ipython3
from tqdm import tqdm
for _ in tqdm(range(3)):
    pass
print("half\\rwhole")
object()
```

Inline $a$ and a long equation:

$$
a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p + q + r + s + t + u + v + w + x = 1
$$

```{code-cell} ipython3
line = ledger.Line(
    "T-1", run.zoo, "a line rises", "rises", run.slope, run.slope - 0.1, run.slope + 0.1,
    20, "bootstrap", run.seed, "replicated",
)
if not run.silent:
    ledger.write([line], "01_throwaway.ledger.json")
    record_audit(
        "01_throwaway", source="recomputed" if run.recompute else "shipped",
        shards=1, checked=2, agreed=2, seed=run.seed, tolerance=1e-3,
    )
np.savetxt("01_throwaway.line.csv", np.stack([x, y], 1), delimiter=",")
ledger.table([line])
```
"""

PROFILE = f"""
{NAME}:
  shapes: {{seed: 3}}
  tinyimagenet: {{}}
"""


def write(folder: Path) -> Path:
    """Write the chapter and its profile below ``folder``; returns the notebooks' folder."""
    notebooks = folder / "notebooks"
    (notebooks / "profiles").mkdir(parents=True)
    (notebooks / f"{NAME}.md").write_text(CHAPTER, encoding="utf-8")
    (notebooks / "profiles" / "tiny.yaml").write_text(PROFILE, encoding="utf-8")
    return notebooks


def chapter(notebooks: Path, zoo: str = "shapes", **values: object) -> Chapter:
    """The chapter in one zoo."""
    return Chapter(notebooks / f"{NAME}.md", zoo, values, "tiny")


def write_book(folder: Path) -> None:
    """A book of this project's own pages with the throwaway chapter for chapters."""
    notebooks = write(folder)
    for zoo in ("shapes", "tinyimagenet"):
        executed = folder / "book" / "executed"
        publish(chapter(notebooks, zoo), executed, report=lambda line: None)
    for name in ("_config.yml", "CITATION.cff", "data/dictionary.csv"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for path in (ROOT / "book").iterdir():
        if path.name in ("executed", "_build") or path.name.startswith("."):
            continue
        if path.is_dir():
            shutil.copytree(path, folder / "book" / path.name)
        else:
            shutil.copy(path, folder / "book" / path.name)
    (folder / "_toc.yml").write_text(
        f"""format: jb-book
root: book/index
parts:
  - caption: The book
    chapters:
      - file: book/explorer
      - file: book/ledger
      - file: book/changes_of_verdict
      - file: book/deviations
      - file: book/how_to_rerun
        sections:
          - file: book/data
      - file: book/bibliography
  - caption: Chapters
    chapters:
      - file: book/executed/shapes/{NAME}
      - file: book/executed/tinyimagenet/{NAME}
""",
        encoding="utf-8",
    )
