"""Executes notebooks, one after another, in the folder they lie in:
    JEPA=... JEPA_LIBRARY=... execute_notebooks.py FOLDER [--write]
--write keeps what they said in the files (their outputs, without times). Exit code 1: a cell failed."""
import sys
import time
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


folder = Path(sys.argv[1])
for path in sorted(folder.glob("*.ipynb")):
    begin = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
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
    print(f"{path.name}: {sum(c.cell_type == 'code' for c in notebook.cells)} cells, "
          f"{time.monotonic() - begin:.0f} s", flush=True)
