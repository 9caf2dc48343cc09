"""Every method of paho's that `LeanClient` overrides: it must do what paho's own does, with fewer copies."""

import socket
import struct
import threading
import tracemalloc

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from privacy.boundary.lean import LARGE_BYTES, LeanClient, Packet, UnreadablePacket

SIZES = st.sampled_from([0, 1, 127, 128, 16_383, LARGE_BYTES - 20, LARGE_BYTES, LARGE_BYTES + 1, 200_000])


def connected(kind=LeanClient):
    """A client that believes itself connected, and the other end of its socket."""
    client = kind(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, manual_ack=True)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    client._sock = ours
    client._thread = threading.current_thread()  # so that nothing is written before the test says so
    return client, theirs


def written_by(kind, topic, payload, *, qos=1, retain=False, expiry=None) -> bytes:
    """What a client writes for one publication."""
    client, theirs = connected(kind)
    properties = Properties(PacketTypes.PUBLISH)
    if expiry is not None:
        properties.MessageExpiryInterval = expiry
    client.publish(topic, payload, qos=qos, retain=retain, properties=properties)
    theirs.settimeout(5)
    came = b""
    while client.want_write() or not came:
        client._packet_write()
        came += theirs.recv(1 << 20)
    client._sock.close()
    theirs.setblocking(False)
    while rest := theirs.recv(1 << 20):
        came += rest
    return came


def received_by(packets: bytes, client=None) -> list[mqtt.MQTTMessage]:
    """The messages that a client makes of bytes that come in, as they come."""
    client, theirs = client or connected()
    got: list[mqtt.MQTTMessage] = []
    client.on_message = lambda _client, _userdata, message: got.append(message)
    sender = threading.Thread(target=theirs.sendall, args=(packets,))
    sender.start()
    while sender.is_alive() or not _is_empty(client):
        code = client._packet_read()
        assert code in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN)
    sender.join()
    return got


def _is_empty(client) -> bool:
    try:
        return not client._sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True


@settings(deadline=None, max_examples=40)
@given(SIZES, st.booleans(), st.none() | st.integers(1, 2**32 - 1), st.sampled_from([0, 1]))
def test_a_publication_is_written_as_paho_writes_it(size, retain, expiry, qos):
    options = {"qos": qos, "retain": retain, "expiry": expiry}
    payload = bytes(size)
    assert written_by(LeanClient, "a/topic", payload, **options) == written_by(
        mqtt.Client, "a/topic", payload, **options
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(SIZES, min_size=1, max_size=4), st.booleans(), st.none() | st.integers(1, 2**32 - 1))
def test_what_is_written_is_read_again_whatever_its_size(sizes, retain, expiry):
    payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
    packets = b"".join(written_by(mqtt.Client, "a/topic", p, retain=retain, expiry=expiry) for p in payloads)
    got = received_by(packets)
    assert [bytes(message.payload) for message in got] == payloads
    assert {(message.topic, message.qos, message.retain) for message in got} == {("a/topic", 1, retain)}
    assert {getattr(message.properties, "MessageExpiryInterval", None) for message in got} == {expiry}


@given(st.binary(max_size=30), st.binary(max_size=30), st.data())
def test_a_packet_is_the_bytes_of_its_head_and_payload(head, payload, data):
    packet, whole = Packet(head, payload), head + payload
    assert len(packet) == len(whole)
    read = 0
    while read < len(whole):
        part = packet[read:]
        taken = data.draw(st.integers(1, len(part)))
        assert bytes(part[:taken]) == whole[read : read + taken]
        read += taken


def test_sending_and_receiving_a_model_makes_no_copies_but_the_one_that_arrives():
    payload, size = bytes(8_000_000), 8_000_000
    packet = written_by(LeanClient, "t", payload)
    tracemalloc.start()
    client, theirs = connected()
    client.publish("t", payload, qos=1)
    _, sending = tracemalloc.get_traced_memory()
    client._sock.close()
    theirs.close()
    tracemalloc.reset_peak()
    (message,) = received_by(packet)
    _, receiving = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sending < size / 8
    assert receiving < 1.1 * size
    assert message.payload.nbytes == size


def test_a_message_may_be_written_over_and_kept():
    pair = connected()
    packets = written_by(mqtt.Client, "t", b"1" * 50_000) + written_by(mqtt.Client, "t", b"2" * 50_000)
    pair[0].keeps_room = True
    first, second = received_by(packets, pair)
    first.payload[:4] = b"mine"
    assert bytes(first.payload[:5]) == b"mine1"
    assert bytes(second.payload) == b"2" * 50_000


def test_memory_that_nobody_looks_at_any_more_is_used_again():
    client, theirs = connected()
    client.keeps_room = True
    rooms = []
    client.on_message = lambda _client, _userdata, message: rooms.append(id(message.payload.obj))
    for number in (b"1", b"2", b"3"):
        packet = written_by(mqtt.Client, "t", number * 50_000)
        sender = threading.Thread(target=theirs.sendall, args=(packet,))
        sender.start()
        sender.join()
        while client._packet_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            continue
    assert len(rooms) == 3
    assert len(set(rooms)) == 1


@pytest.mark.parametrize(
    "body",
    {
        "at QoS 2": b"\x34\x06\x00\x01t\x00\x01\x00",
        "whose properties go on after its end": b"\x32\x07\x00\x01t\x00\x01\x7f\x00",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_publication_that_is_none_is_named(body):
    client, theirs = connected()
    theirs.sendall(body[1])
    with pytest.raises(UnreadablePacket):
        client._packet_read()


def test_a_connection_that_ends_inside_a_large_packet_is_lost():
    client, theirs = connected()
    theirs.sendall(written_by(mqtt.Client, "t", bytes(100_000))[:50_000])
    theirs.shutdown(socket.SHUT_WR)
    codes = [client._packet_read() for _ in range(3)]
    assert MQTTErrorCode.MQTT_ERR_CONN_LOST in codes


def test_an_acknowledgement_is_still_understood_between_large_packets():
    client, theirs = connected()
    done = []
    client.on_publish = lambda _client, _userdata, mid, _code, _properties: done.append(mid)
    mid = client.publish("t", b"x", qos=1).mid
    large = written_by(mqtt.Client, "t", bytes(100_000))
    got = received_by(large + b"\x40\x04" + struct.pack("!H", mid) + b"\x00\x00" + large, (client, theirs))
    assert (len(got), done) == (2, [mid])
