"""A predictor with text prompts, for tests of searches for tumors."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from session_case import FakePredictor


class Reader(FakePredictor):
    """Segments the same square on each slice for any text prompt."""

    def __init__(self):
        super().__init__()
        info = self.model.info
        self.model.info = replace(info, prompts=info.prompts | {"text"}, concepts=("liver tumor",))
        self.asked = []

    def predict_text(self, embedding, concept):
        self.asked.append(concept)
        mask = np.zeros(embedding, bool)
        mask[10:15, 12:18] = True
        return SimpleNamespace(mask=mask, predicted_iou=0.5, stability=1.0)


SQUARE = np.zeros((8, 20, 24), bool)
SQUARE[:, 10:15, 12:18] = True
