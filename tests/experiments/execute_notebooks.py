"""Executes notebooks, one after another, in the folder they lie in:
    JEPA=... JEPA_LIBRARY=... execute_notebooks.py FOLDER [--write]
--write keeps what they said in the files (their outputs, without times). Without it, what they say must be
what the files carry: every line that is the same on any machine. Exit code 1: a cell failed, or says
something else."""
import re
import sys
import time
from itertools import zip_longest
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

SECONDS = 300  # a cell may take


def joined(outputs):
    """What was printed in pieces, in one."""
    whole = []
    for output in outputs:
        if whole and output.output_type == "stream" == whole[-1].output_type and output.name == whole[-1].name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


# A number with a fraction, and what is chosen by comparing such numbers, may differ between machines.
DIFFERS = re.compile(r"\d\.\d|\de-|^chosen ")


def said(cell):
    """Lines that a cell printed or gave as text, those that may differ as None."""
    text = "".join(o.text if o.output_type == "stream" else o.get("data", {}).get("text/plain", "") + "\n"
                   for o in joined(cell.get("outputs", [])) if o.get("name") != "stderr")
    return [None if DIFFERS.search(line) else line for line in text.splitlines()]


def compare(path, number, before, now):
    """Ends the program where a cell's lines are not what they were."""
    for i, (old, new) in enumerate(zip_longest(before, now, fillvalue="(no line)")):
        if old != new:
            sys.exit(f"{path.name}: cell {number}, line {i + 1} of its output\n  now {new}\n  in the file {old}\n"
                     "(None: with numbers that differ between machines.) Look at it; --write keeps what it says now")


folder = Path(sys.argv[1])
for path in sorted(folder.glob("*.ipynb")):
    begin = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    before = [said(cell) for cell in notebook.cells]
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", record_timing=False,
                            resources={"metadata": {"path": str(folder)}})
    try:
        client.execute()
    except CellExecutionError as error:
        sys.exit(f"{path.name}: {error}")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    if "--write" in sys.argv[2:]:
        notebook.metadata = {k: notebook.metadata[k] for k in ("kernelspec",) if k in notebook.metadata}
        nbformat.write(notebook, path)
    else:
        for number, (cell, old) in enumerate(zip(notebook.cells, before), 1):
            compare(path, number, old, said(cell))
    print(f"{path.name}: {sum(c.cell_type == 'code' for c in notebook.cells)} cells, "
          f"{time.monotonic() - begin:.0f} s", flush=True)
