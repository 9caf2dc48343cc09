"""Apple's pfl: see the package."""

import contextlib
import sys
import time

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.data import FederatedDataset
from pfl.data.dataset import Dataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Weighted
from pfl.model.pytorch import PyTorchModel
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)

    def loss(self, x, y, eval=False):
        return nn.functional.binary_cross_entropy_with_logits(self(x), y)

    @torch.no_grad()
    def metrics(self, x, y):
        return {"loss": Weighted(self.loss(x, y).item() * len(y), len(y))}


def examples(node):
    generator = torch.Generator().manual_seed(node)
    x = torch.randn(64, 32, generator=generator)
    return x, (x[:, 0] > 0).float()


def main(nodes, start, after):
    torch.set_num_threads(1)  # its quickest here
    answers = sys.stdout
    data = {node: examples(node) for node in range(nodes)}
    federated = FederatedDataset(
        lambda node: Dataset(raw_data=list(data[node])), get_user_sampler("minimize_reuse", list(data))
    )
    net = Net()
    with np.load(start) as arrays:
        net.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    model = PyTorchModel(
        model=net,
        local_optimizer_create=torch.optim.SGD,
        central_optimizer=torch.optim.SGD(net.parameters(), 1.0),
    )
    backend = SimulatedBackend(training_data=federated, val_data=None, postprocessors=[WeightByDatapoints()])

    def rounds(number):
        begun = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            FederatedAveraging().run(
                algorithm_params=NNAlgorithmParams(
                    central_num_iterations=number,
                    evaluation_frequency=10**9,
                    train_cohort_size=nodes,
                    val_cohort_size=0,
                ),
                backend=backend,
                model=model,
                model_train_params=NNTrainHyperParams(local_learning_rate=0.1, local_num_epochs=1, local_batch_size=16),
                model_eval_params=None,
                callbacks=[],
            )
        return time.perf_counter() - begun

    rounds(1)
    np.savez(after, **{name: value.numpy() for name, value in net.state_dict().items()})
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(rounds(int(line)), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
