import pytest

from aggregator.attendance import Attendance
from aggregator.cohort import Cohort, CohortTooSmall
from privacy.boundary.directory import Directory
from privacy.boundary.gate import presence
from privacy.boundary.wire import Delivery
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Role, node_party


class Hall:
    """The part of a grid that a cohort looks at, without a wire: presence messages are put in by hand."""

    def __init__(self) -> None:
        self.authority = CertificateAuthority.create("hall")
        self.attendance = Attendance(Directory(self.authority.enrol("leader", Role.LEADER)))
        self.nodes: dict[int, Identity] = {}

    def enter(self, node_id: int, *, online: bool = True) -> None:
        if node_id not in self.nodes:
            self.nodes[node_id] = self.authority.enrol(node_party(node_id), Role.NODE)
        message = presence(self.nodes[node_id], bytes(16), online=online, software="test")
        self.attendance.receive(Delivery(message.topic, memoryview(message.payload), False))

    def get_node_ids(self) -> list[int]:
        return self.attendance.online()


NAMES = {11: "Menteng", 12: "Depok", 13: "Bogor"}


def test_a_cohort_that_is_complete_does_not_wait():
    hall = Hall()
    for node_id in NAMES:
        hall.enter(node_id)
    assert Cohort(hall, NAMES, 3, 0.0).wait() == [11, 12, 13]


def test_a_cohort_waits_for_whom_it_names_and_goes_on_when_they_come():
    hall, told = Hall(), []
    hall.enter(11)

    def tell(present, missing, needed, seconds_left):
        told.append((present, missing, needed))
        hall.enter(12)

    assert Cohort(hall, NAMES, 2, 20.0, on_wait=tell).wait() == [11, 12]
    assert told == [([11], ["Bogor", "Depok"], 2)]


def test_a_cohort_that_stays_too_small_gives_up_and_names_who_was_missing():
    hall = Hall()
    hall.enter(11)
    hall.enter(13)
    hall.enter(13, online=False)
    with pytest.raises(CohortTooSmall, match=r"needs 2 nodes; there after 0 s: Menteng; missing: Bogor, Depok"):
        Cohort(hall, NAMES, 2, 0.05).wait()


def test_flowers_own_endless_polling_ends_at_the_deadline():
    cohort = Cohort(Hall(), NAMES, 2, 0.0)
    with pytest.raises(CohortTooSmall, match="nobody; missing: Bogor, Depok, Menteng"):
        list(iter(cohort.get_node_ids, None))


def test_a_cohort_of_the_past_is_as_it_was():
    assert Cohort.of_the_past(Hall(), [5, 6]).get_node_ids() == [5, 6]


def test_a_node_whose_retained_presence_was_cleared_is_gone():
    hall = Hall()
    hall.enter(11)
    hall.attendance.receive(Delivery(f"jaga/1/presence/{node_party(11)}", memoryview(b""), False))
    assert hall.get_node_ids() == []
