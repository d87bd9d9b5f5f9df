"""A training of the loop's toy in a process of torchrun: `memory_case.py FOLDER MOST` writes what each process saw.

The toy of the second process takes at most MOST examples at once, as a graphics card with less memory free would.
"""

import json
import sys
from pathlib import Path

import numpy as np
from loop_case import SETTINGS, Reports, Toy
from training_case import disc, sample

from SAMLiverTumorLib.errors import InputError
from SAMLiverTumorLib.training.optimization import loop
from SAMLiverTumorLib.training.optimization.checkpoint_state import TrainingState
from SAMLiverTumorLib.training.optimization.distributed import join, leave
from SAMLiverTumorLib.training.optimization.schedule import Schedule


def train(folder, most, processes):
    """(losses, sizes of what the toy was given, final weights, notes, error) of this process."""
    from dataclasses import replace

    settings = replace(SETTINGS, batch=4)
    own = folder / f"samples-{processes.rank}-of-{processes.count}"
    own.mkdir()
    lesions = disc(250, 260, 60).astype(np.uint8)
    samples = [sample(own, lesions, f"p{n % 2}", f"p{n % 2} slice {n}", seed=n) for n in range(4)]
    loop.validate = lambda *_, **__: {"box": {"p0": 0.5}}
    toy, reports, error = Toy(most if processes.rank == 1 else 99), Reports(), ""
    try:
        schedule = Schedule(settings, samples)
        loop.train(toy, schedule, samples[:1], settings, TrainingState(), None, reports, processes=processes)
    except InputError as caught:
        error = str(caught)
    notes = [note["text"] for note in reports.of("note")]
    return {
        "losses": reports.losses,
        "sizes": toy.sizes,
        "weight": toy.weight.tolist(),
        "notes": notes,
        "error": error,
    }


if __name__ == "__main__":
    place, most = Path(sys.argv[1]), int(sys.argv[2])
    processes = join()
    (place / f"rank{processes.rank}.json").write_text(json.dumps(train(place, most, processes)))
    leave()
