"""Strategy `bounded`: FedAvg in which no reply can pull further than the one in the middle.

A node that lies, or whose clock or radio is broken, can send an update as large as it likes, and a mean follows it.
Here each update is scaled down to the round's median length before the mean is taken. Lies still pull, but no more
than an honest reply does (after Sun et al. 2019, arXiv 1911.07963, who bound by a fixed length).
"""

from statistics import median

import numpy as np
from flwr.app import Array
from flwr.serverapp.strategy import FedAvg


class Bounded(FedAvg):
    """FedAvg of updates that are at most `times` as long as the median one.

    Args:
        times: above 0.
        options: of Flower's `FedAvg`, as `fraction_train`.
    """

    def __init__(self, times: float = 1.0, **options):
        if times <= 0:
            raise ValueError(f"times is above 0, not {times}")
        super().__init__(**options)
        self.times = times

    def configure_train(self, server_round, arrays, config, grid):
        self.current_arrays = arrays.copy()  # the model that this round's updates start from
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        replies = list(replies)
        models = [record for one in replies if one.has_content() for record in one.content.array_records.values()]
        start = {name: array.numpy() for name, array in self.current_arrays.items()}
        updates = [{name: array.numpy() - start[name] for name, array in model.items()} for model in models]
        lengths = [np.sqrt(sum(np.square(part).sum() for part in update.values())) for update in updates]
        for model, update, length in zip(models, updates, lengths, strict=True):
            factor = min(1.0, self.times * median(lengths) / max(length, 1e-12))
            for name, part in update.items():
                model[name] = Array((start[name] + factor * part).astype(part.dtype))
        return super().aggregate_train(server_round, replies)
