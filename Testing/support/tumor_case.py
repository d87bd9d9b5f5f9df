"""A session on a dark ball that can be followed through the volume, for tests of what becomes of that."""

import numpy as np
from propagation_case import SETTINGS, DarkPool, ball, phantom_of
from session_case import Case

BALL = ball()
MIDDLE = 15


class Tumor(Case):
    """A dark ball in a volume of 44 x 40 x 30 voxels; the network marks dark pixels."""

    def __init__(self, inside=BALL, **options):
        super().__init__(volume=phantom_of(inside, inside.shape), **options)
        self.look(MIDDLE)

    def new_session(self, history=None):
        self.pool = DarkPool()
        session = super().new_session(history)
        session.setSettings(SETTINGS)
        return session

    def box_on(self, k, low=(12, 10), high=(32, 30)):
        """Draw a flat box on an axial slice."""
        self.look(k)
        self.draw_box((*low, k), (*high, k))
        self.finish()

    def follow(self, direction="both"):
        assert self.session.propagate(direction), self.session.message
        lines = self.finish()
        assert not self.session.busy
        return lines

    def slices(self):
        return np.flatnonzero(self.array().any(axis=(1, 2))).tolist()
