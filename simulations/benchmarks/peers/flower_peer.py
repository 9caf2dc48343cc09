"""Flower's own simulation engine: see the package."""

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import logging
import sys
import time

import numpy as np
import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn

client = ClientApp()
server = ServerApp()
NODES, START, AFTER = int(sys.argv[1]), sys.argv[2], sys.argv[3]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)


@client.train()
def train(message, context):
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(int(context.node_config["partition-id"]))
    x = torch.randn(64, 32, generator=generator)
    y = (x[:, 0] > 0).float()
    model = Net()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=0.1), nn.BCEWithLogitsLoss()
    for begun in range(0, 64, 16):
        optimizer.zero_grad()
        loss(model(x[begun : begun + 16]), y[begun : begun + 16]).backward()
        optimizer.step()
    metrics = MetricRecord({"num-examples": 64})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics}), reply_to=message)


@server.main()
def main(grid, _context):
    with np.load(START) as arrays:
        state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}

    def rounds(number):
        begun = time.perf_counter()
        strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_available_nodes=NODES)
        result = strategy.start(grid=grid, initial_arrays=ArrayRecord(state), num_rounds=number)
        return time.perf_counter() - begun, result

    _, first = rounds(1)
    np.savez(AFTER, **{name: value.numpy() for name, value in first.arrays.to_torch_state_dict().items()})
    print("ready", flush=True)
    for line in sys.stdin:
        print(rounds(int(line))[0], flush=True)


if __name__ == "__main__":
    logging.getLogger("flwr").setLevel(logging.ERROR)
    run_simulation(
        server_app=server,
        client_app=client,
        num_supernodes=NODES,
        backend_config={"init_args": {"address": "local"}, "client_resources": {"num_cpus": 1, "num_gpus": 0}},
    )
