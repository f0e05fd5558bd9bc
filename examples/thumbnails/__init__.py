"""Thumbnails of real pictures, made by a pool of processes.

    python -m examples.thumbnails [--pictures N] [--size PIXELS] [--keep DIRECTORY]

Draws pictures as a camera, a designer and a scanner would leave them: JPEGs that are turned by
their EXIF note, transparent PNGs, palettes, CMYK, 16 bit grey, animations; and three files that
are no pictures although they are named so. One job for each; a worker with a pool of processes
makes the thumbnails, because this is work for the CPU and a thread would only wait for the GIL.
At the end every thumbnail is opened: right size, right way up, right picture. Exit code 0 only
then, and only if the three others are dead letters after a single attempt.

What to copy:

- `executor="process"` for what computes; `tenure worker … --pool process -c 2`.
- Arguments and results with types: paths and a dataclass go through the queue as they are.
- A task that may run twice: it writes under another name and renames at the end.
- `Permanent` for what no further attempt can change, retries for what one can.

picture.py   one picture to one thumbnail; knows nothing of queues
tasks.py     the app: the function above as a task
draw.py      the pictures, the same ones in every run
__main__.py  the story and its check
"""
