"""An active leader that wants one node's update out of sums: overlapping sets, repetitions, false nodes, uneven tasks.

The helper without rules adds up whatever it is asked for; then each of these gives the node's update exactly.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from privacy.identity.authority import Identity
from privacy.identity.certificates import Role
from privacy.secure_sum.draw import commitment_of, groups_of, new_secret
from privacy.secure_sum.exchange import Draw, DrawRequest, NodeTerms, Part, SealedSeed, SumRequest, SumShare
from privacy.secure_sum.fixed_point import FixedPoint
from privacy.secure_sum.seeds import BadSeed, Purpose, open_seed, seal_seed
from privacy.secure_sum.sums import MaskSum, ShareSum, split
from privacy.secure_sum.vector import Vector
from simulations.attacks.finding import Finding, rate_interval
from simulations.summed import FIRST_NODE, SummedFederation

SIZE, NODES = 16, 8
CODE = FixedPoint(4.0, 32, 64)
TASK, OTHER_TASK = (hashlib.sha256(what).digest() for what in (b"train", b"train at a learning rate of zero"))
UINT32 = np.dtype(np.uint32)
Helper = Callable[[SumRequest], SumShare]


@dataclass(frozen=True, slots=True)
class Sent:
    """What one node sent for one sum."""

    party: str
    update: NDArray[np.float64]
    share: Vector
    sealed: SealedSeed


class Scene:
    """Nodes, their updates of one round, and a leader that has all of their shares."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.federation = SummedFederation(folder, NODES, 3)
        self._random = np.random.default_rng(seed)
        self.nodes = [self.federation.nodes[FIRST_NODE + n] for n in range(NODES)]
        self.target = self.nodes[0].party
        self._draws: dict[tuple[int, Part], tuple[bytes, Draw, dict[str, int]]] = {}

    def drawn(self, number: int, part: Part = Part.TRAIN) -> tuple[bytes, Draw, dict[str, int]]:
        """The leader's secret, the helper's part and the groups of a sum: one group of all honest nodes."""
        if (number, part) not in self._draws:
            secret, parties = new_secret(), sorted(node.party for node in self.nodes)
            asked = DrawRequest(number, part, commitment_of(secret), parties, NODES, 3, 1e6)
            draw = self.federation.draw(asked).draw
            if draw is None:
                raise RuntimeError("the helper draws no groups: nothing can be told of it")
            at = self.federation.sum_name(number, part)
            self._draws[number, part] = secret, draw, groups_of(at, secret, draw.nonce, parties, NODES, 3)
        return self._draws[number, part]

    def sent(self, nodes: Iterable[Identity], number: int, *, idle: Iterable[str] = ()) -> dict[str, Sent]:
        """Replies; those of `idle` were asked for something from which nothing comes."""
        found = {}
        for node in nodes:
            quiet = node.party in idle
            update = np.zeros(SIZE) if quiet else self._random.normal(0, 0.5, SIZE)
            shares = split(Vector(CODE.encode(update).elements, np.zeros(1, np.uint64)))
            _, draw, _ = self.drawn(number)
            at = self.federation.sum_name(number, Part.TRAIN)
            purpose = Purpose(at, OTHER_TASK if quiet else TASK, draw.nonce)
            sealed = seal_seed(node, self.federation.helper.certificate, purpose, NodeTerms(3, 0, 0), shares.seed)
            found[node.party] = Sent(node.party, update, shares.leader, sealed)
        return found

    def lax(self, request: SumRequest) -> SumShare:
        """A helper without rules."""
        total = MaskSum(request.elements, request.scalars, UINT32)
        for party, sealed in request.seeds.items():
            node = next(one for one in self.federation.nodes.values() if one.party == party)
            for part, task in itertools.product(Part, (TASK, OTHER_TASK)):
                _, draw, _ = self.drawn(request.round_number)
                purpose = Purpose(self.federation.sum_name(request.round_number, part), task, draw.nonce)
                try:
                    total.add(open_seed(self.federation.helper.keys, node.certificate, purpose, sealed))
                    break
                except BadSeed:
                    continue
        return SumShare(total.elements.tobytes(), total.scalars.tobytes())


def total(
    scene: Scene, helper: Helper, sent: Iterable[Sent], number: int, part: Part = Part.TRAIN
) -> NDArray[np.float64] | None:
    """The sum of these nodes' updates, if the helper gives its half."""
    sent = list(sent)
    mine = ShareSum(SIZE, 1, UINT32, 64)
    for one in sent:
        mine.add(one.share)
    secret, _, groups = scene.drawn(number, part)
    seeds = {one.party: one.sealed for one in sent}
    absent = sorted(groups.keys() - seeds.keys())
    share = helper(SumRequest(number, part, TASK, 32, SIZE, 1, seeds, secret, absent))
    if share.refusal is not None:
        return None
    theirs = np.frombuffer(share.elements, UINT32), np.frombuffer(share.scalars, np.uint64)
    return CODE.decode(mine.joined(*theirs).elements)


def groups(seed: int, folder: Path, tries: int = 1) -> list[Finding]:
    """All of them, each against a helper without rules and against the real one.

    Args:
        tries: federations of each kind, with updates of their own; an interval of one try is [.025, 1].
    """
    found = []
    for name, saw, attack in (
        ("cohort of one", "a request for one node", _alone),
        ("differencing: all, then all but one", "two sums of one round", _all_but_one),
        ("differencing: after a lost answer", "a set, then the same with one less", _after_a_loss),
        ("differencing: training and evaluation", "a seed of one part, asked for in the other", _other_part),
        ("differencing: all twice, then all but one", "three sums of one round", _twice),
        ("differencing: the helper's database put back", "a set, then all but one after the restore", _put_back),
        ("Sybils: nodes that nobody approved", "a group filled with its own nodes", _sybils),
        ("Sybils: other keys under approved names", "certificates of its own authority", _other_keys),
        ("uneven tasks", "a group of which one node has something to do", _uneven),
    ):
        gains = [0, 0]
        for number, protected in itertools.product(range(tries), (False, True)):
            home = folder / hashlib.sha256(f"{name}{number}{protected}".encode()).hexdigest()[:12]
            home.mkdir()
            scene = Scene(home, seed + number)
            if not protected:
                _control(scene)
            guess, there = attack(scene, scene.federation.ask if protected else scene.lax)
            gains[protected] += guess is not None and np.allclose(guess, there, atol=1e-6)
            scene.federation.close()
        without, within = (rate_interval(gain, tries) for gain in gains)
        note = "1: the node's update, exactly"
        found.append(Finding(name, saw, gains[0] / tries, gains[1] / tries, 0.0, note, without, within))
    return found


def _control(scene: Scene) -> None:
    """A helper that refuses everything would withstand all of this: an honest request gets the sum."""
    sent = scene.sent(scene.nodes, 99)
    whole = total(scene, scene.federation.ask, sent.values(), 99)
    if whole is None or not np.allclose(whole, sum(one.update for one in sent.values()), atol=1e-5):
        raise RuntimeError("the helper gave no sum, or a wrong one, for an honest request: nothing can be told of it")


Tried = tuple[NDArray[np.float64] | None, NDArray[np.float64]]


def _difference(first: NDArray[np.float64] | None, second: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return None if first is None or second is None else first - second


def _alone(scene: Scene, helper: Helper) -> Tried:
    sent = scene.sent(scene.nodes[:1], 1)
    return total(scene, helper, sent.values(), 1), sent[scene.target].update


def _all_but_one(scene: Scene, helper: Helper) -> Tried:
    sent = scene.sent(scene.nodes, 1)
    rest = [one for one in sent.values() if one.party != scene.target]
    return _difference(total(scene, helper, sent.values(), 1), total(scene, helper, rest, 1)), sent[scene.target].update


def _after_a_loss(scene: Scene, helper: Helper) -> Tried:
    sent = scene.sent(scene.nodes, 1)
    rest = [one for one in sent.values() if one.party != scene.target]
    total(scene, helper, rest, 1)  # "the answer was lost"
    return _difference(total(scene, helper, sent.values(), 1), total(scene, helper, rest, 1)), sent[scene.target].update


def _other_part(scene: Scene, helper: Helper) -> Tried:
    sent = scene.sent(scene.nodes, 1)
    rest = [one for one in sent.values() if one.party != scene.target]
    whole = total(scene, helper, sent.values(), 1)
    return _difference(whole, total(scene, helper, rest, 1, Part.EVALUATE)), sent[scene.target].update


def _twice(scene: Scene, helper: Helper) -> Tried:
    sent = scene.sent(scene.nodes, 1)
    total(scene, helper, sent.values(), 1)
    rest = [one for one in sent.values() if one.party != scene.target]
    return _difference(total(scene, helper, sent.values(), 1), total(scene, helper, rest, 1)), sent[scene.target].update


def _put_back(scene: Scene, helper: Helper) -> Tried:
    """Also if nobody notices that the database is an old copy: it knows no draw of what was answered since."""
    copy = scene.federation.back_up()
    sent = scene.sent(scene.nodes, 1)
    whole = total(scene, helper, sent.values(), 1)
    scene.federation.put_back(copy)
    rest = [one for one in sent.values() if one.party != scene.target]
    return _difference(whole, total(scene, helper, rest, 1)), sent[scene.target].update


def _sybils(scene: Scene, helper: Helper) -> Tried:
    false = [scene.federation.join() for _ in range(3)]
    sent = scene.sent([scene.nodes[0], *false], 1)
    whole = total(scene, helper, sent.values(), 1)
    known = sum(sent[node.party].update for node in false)
    return None if whole is None else whole - known, sent[scene.target].update


def _other_keys(scene: Scene, helper: Helper) -> Tried:
    # The nodes counted once with keys of their own; then the authority certifies others under their names.
    total(scene, helper, scene.sent(scene.nodes, 1).values(), 1)
    false = [scene.federation.authority.enrol(node.party, Role.NODE) for node in scene.nodes[1:4]]
    for place, node in enumerate(false):
        scene.federation.nodes[FIRST_NODE + 1 + place] = node
    sent = scene.sent([scene.nodes[0], *false], 2)
    whole = total(scene, helper, sent.values(), 2)
    known = sum(sent[node.party].update for node in false)
    return None if whole is None else whole - known, sent[scene.target].update


def _uneven(scene: Scene, helper: Helper) -> Tried:
    sent = scene.sent(scene.nodes[:4], 1, idle=[node.party for node in scene.nodes[1:4]])
    return total(scene, helper, sent.values(), 1), sent[scene.target].update
