from mimi_mqtt.transports.udp_rows import MAX_HELD, MAX_ROWS, Address, Held, Rows

HERE, THERE = ("192.0.2.1", 1), ("203.0.113.9", 6)


def equal(address: Address) -> int:
    return 0


def packet(sequence: int) -> Held:
    return Held(b"\x58", sequence, 0, sequence * 0.06)


def test_only_packets_that_go_on_with_the_count_are_points() -> None:
    rows = Rows()
    points = []
    for sequence in (10, 11, 13, 12, 14):
        row = rows.of(HERE, 11, sequence)
        row.add(packet(sequence), proves=True)
        points.append(row.score)
    assert points == [1, 2, 3, 3, 4]
    assert (row.first, row.highest, len(row.held)) == (10, 14, 5)


def test_another_address_configuration_or_place_is_another_row() -> None:
    rows = Rows()
    rows.of(HERE, 11, 10).add(packet(10), proves=True)
    for address, config, sequence in ((THERE, 11, 11), (HERE, 3, 11), (HERE, 11, 40)):
        rows.of(address, config, sequence).add(packet(sequence), proves=True)
    assert [row.score for row in rows.rows] == [1, 1, 1, 1]


def test_rows_and_what_they_hold_are_bounded() -> None:
    rows = Rows()
    for sequence in range(1, 200):
        rows.of(HERE, 11, sequence).add(packet(sequence), proves=True)
    for port in range(100):
        rows.of(("203.0.113.9", port), 11, 1).add(packet(1), proves=True)
    assert len(rows.rows) == MAX_ROWS
    (row,) = (row for row in rows.rows if row.address == HERE)
    assert [held.sequence for held in row.held] == list(range(200 - MAX_HELD, 200))


def test_thirty_two_forgeries_undo_one_good_packet_of_their_own_address() -> None:
    rows = Rows()
    for address in (HERE, THERE):
        rows.of(address, 11, 1).add(packet(1), proves=True)
    for _ in range(31):
        rows.doubt(THERE)
    assert [row.address for row in rows.rows] == [HERE, THERE]
    rows.doubt(THERE)
    assert [row.address for row in rows.rows] == [HERE]


def test_a_row_contradicts_those_that_are_no_more_likely_the_devices() -> None:
    rows = Rows()
    for address in (HERE, THERE):
        for sequence in (1, 2, 3):
            rows.of(address, 11, sequence).add(packet(sequence), proves=True)
    here, there = rows.rows
    rows.contradict(there, lambda address: int(address == HERE))
    assert (here.score, there.score) == (3, 3)
    rows.contradict(here, lambda address: int(address == HERE))
    assert (here.score, there.score) == (3, 2)
    rows.contradict(there, equal)
    assert (here.score, there.score) == (2, 2)
