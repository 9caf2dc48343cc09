"""Draws for tests: a helper's signed part, and a leader that draws and asks as an honest one does."""

import time

from privacy.secure_sum.draw import SumName, commitment_of, groups_of, new_secret, sign_draw
from privacy.secure_sum.exchange import DrawRequest, NodeTerms, Part, SumRequest
from privacy.secure_sum.mask import new_seed
from privacy.secure_sum.seeds import Purpose, seal_seed

SAID = NodeTerms(3, 0, 0)
ASKED = b"a" * 32


def draw_by(helper, at, *, min_cohort=3, lives_s=3600.0):
    """The part of a draw that a helper's identity signs."""
    return sign_draw(helper.keys.signing, at, commitment_of(b"l" * 32), min_cohort, time.time() + lives_s)


class LeaderDouble:
    """Draws the groups of sums with a helper, seals seeds as their nodes do, and makes requests.

    Args:
        draw: `HelperDesk.draw` of one run, or `HelperLine.draw`.
        helper: the helper's identity.
    """

    def __init__(self, draw, helper, federation, run_id, *, elements=5, scalars=2):
        self._draw, self._helper, self._at = draw, helper, (federation, run_id)
        self._lengths = elements, scalars
        self.secrets, self.draws, self.nodes, self.groups = {}, {}, {}, {}
        self.seeds = {}

    def name(self, number=1, part=Part.TRAIN):
        return SumName(*self._at, number, part)

    def draw(self, nodes, number=1, part=Part.TRAIN, *, size=None, least=3, secret=None):
        """What the helper answers to a request for a draw over these nodes, remembered where it is a draw."""
        parties = sorted(node.party for node in nodes)
        size, secret = size or max(len(parties), 2), secret or new_secret()
        share = self._draw(DrawRequest(number, part, commitment_of(secret), parties, size, least, 3600.0))
        if share.draw is not None:
            key = number, part
            self.secrets[key], self.draws[key], self.nodes[key] = secret, share.draw, parties
            self.groups[key] = groups_of(self.name(number, part), secret, share.draw.nonce, parties, size, least)
        return share

    def sealed(self, node, number=1, part=Part.TRAIN, *, seed=None, asked=ASKED, said=None, at=None, nonce=None):
        """One node's seed; each of a sum is remembered."""
        key = number, part
        group = self.groups[key].get(node.party, 0) if key in self.groups else 0
        nonce = nonce or (self.draws[key].nonce if key in self.draws else bytes(32))
        seed = seed or self.seeds.setdefault((node.party, number, part), new_seed())
        purpose = Purpose(at or self.name(number, part), asked, nonce)
        return seal_seed(node, self._helper.certificate, purpose, said or NodeTerms(3, 0, group), seed)

    def request(self, nodes, number=1, part=Part.TRAIN, *, absent=None, **changes):
        """A request for the sum over these nodes; whoever else was drawn is absent. `changes` replaces seeds."""
        key = number, part
        seeds = {node.party: self.sealed(node, number, part) for node in nodes} | changes
        if absent is None:
            absent = sorted(set(self.nodes.get(key, ())) - seeds.keys())
        secret = self.secrets.get(key, bytes(32))
        return SumRequest(number, part, ASKED, 32, *self._lengths, seeds, secret, absent)
