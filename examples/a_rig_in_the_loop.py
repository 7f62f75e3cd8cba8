"""A search whose scores come from outside: images go to a rig as files, rates come back."""

import numpy as np

from signseg_utils import Search, load_zoo
from signseg_utils.search.rig import Session, read_images

generator = load_zoo("shapes").generator("decoder")
session = Session("rig", generator, Search(generations=4), seeds=[0], labels=["channel 12"])

while not session.done:  # the program may stop anywhere and be started again
    batch = session.ask()  # PNG files and manifest.csv in batch.folder
    images = read_images(batch).float() / 255
    rates = images[:, 0].mean((1, 2)) - images[:, 2].mean((1, 2))  # yours: shown to the animal
    session.tell(np.asarray(rates))  # or: session.tell("rates.csv")

found = session.found()
print("best rate of each generation:", [round(r, 3) for r in found.trace[0].tolist()])
