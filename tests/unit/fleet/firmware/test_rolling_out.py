"""A roll-out from upload to outcome: offers, downloads, devices that come back or not, pauses and
roll-backs."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from mimi_mqtt.errors import Conflict, FileTooLarge, Invalid, LimitReached, NotFound
from mimi_mqtt.events import DeliveryProgressed, RollOutChanged, RollOutHalted
from mimi_mqtt.fleet.firmware.downloads import MAX_AT_ONCE, MAX_PER_DEVICE, Key, Sent
from mimi_mqtt.fleet.firmware.images import ImageChange, NewImage
from mimi_mqtt.fleet.firmware.rollout import GOING, State, position
from mimi_mqtt.fleet.firmware.rollouts import Terms
from mimi_mqtt.fleet.firmware_offers import FirmwareOffer, NoFirmware
from mimi_mqtt.store import devices, firmware
from mimi_mqtt.store.engine import Store
from mimi_mqtt.wire.ota import OtaRequest
from tests.fakes.blobs import names, parts
from tests.fakes.firmware import ADA, BOARD, ORIGIN, Workshop, device_id, report
from tests.firmware import images


async def begin(workshop: Workshop, **terms: object) -> int:
    image = await workshop.image()
    assert image.id is not None
    made = await workshop.rollouts.create(image.id, Terms(**terms), ADA, now=workshop.moment.now)  # type: ignore[arg-type]
    assert made.row.id is not None
    return made.row.id


def reason(answer: FirmwareOffer | NoFirmware) -> str:
    assert isinstance(answer, NoFirmware)
    return answer.reason


# ── images ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_image_is_registered_with_what_its_bytes_tell(workshop: Workshop) -> None:
    row = await workshop.image()
    assert (row.version, row.chip, row.project, row.channel, row.uploaded_by) == (
        "2.3.1", "esp32s3", "xiaozhi", "stable", "ada",
    )  # fmt: skip
    assert await names(workshop.store) == {row.sha256}
    assert [each.id for each in await workshop.images.list(board=BOARD)] == [row.id]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (images.merged(), "merged image"),
        (images.image()[:-5], "truncated"),
        (images.image(version="1.2.3-beta"), "PROJECT_VER"),
        (images.image(version="999999999999"), "PROJECT_VER"),
        (b"hello", "not an ESP32 image"),
    ],
)
async def test_nothing_is_kept_of_a_file_that_is_refused_and_all_of_it_is_read(
    workshop: Workshop, data: bytes, word: str
) -> None:
    pieces = [data[start : start + 10_000] for start in range(0, len(data), 10_000)]
    read = 0

    async def given() -> AsyncIterator[bytes]:
        nonlocal read
        for piece in pieces:
            read += len(piece)
            yield piece

    with pytest.raises(Invalid, match=word):
        await workshop.images.add(given(), NewImage(BOARD), ADA)
    assert read == sum(map(len, pieces))
    assert await names(workshop.store) == set()


async def test_a_file_beyond_the_bound_is_refused(workshop: Workshop) -> None:
    big = images.image([images.descriptor() + bytes(4_000)]) + b"\xff" * (16 << 20)
    with pytest.raises((Invalid, FileTooLarge), match="larger"):
        await workshop.images.add(parts(big[:10_000], big[10_000:]), NewImage(BOARD), ADA)


async def test_a_version_is_registered_once_for_a_board(workshop: Workshop) -> None:
    await workshop.image()
    with pytest.raises(Conflict, match="the same image"):
        await workshop.image()
    await workshop.image(board_name="other")
    await workshop.image("2.3.2")


@pytest.mark.parametrize("told", [{"board": ""}, {"board": "a/b"}, {"board": "x", "channel": "Beta 2"}])
async def test_boards_and_channels_are_checked(workshop: Workshop, told: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        await workshop.image(**told)


async def test_an_image_that_a_roll_out_uses_can_not_be_deleted(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    image = (await workshop.rollouts.get(rollout)).image
    assert image.id is not None
    with pytest.raises(Conflict, match="is used by roll-out 1"):
        await workshop.images.delete(image.id, ADA)
    with pytest.raises(Conflict, match="not over"):
        await workshop.rollouts.delete(rollout, ADA)
    await workshop.rollouts.end(rollout, ADA)
    await workshop.rollouts.delete(rollout, ADA)
    await workshop.images.delete(image.id, ADA)
    with pytest.raises(NotFound):
        await workshop.images.get(image.id)


async def test_a_change_of_an_older_revision_is_refused(workshop: Workshop) -> None:
    image = await workshop.image()
    assert image.id is not None
    changed = await workshop.images.change(image.id, ImageChange(channel="beta"), ADA, revision=1)
    assert (changed.channel, changed.revision) == ("beta", 2)
    with pytest.raises(Conflict):
        await workshop.images.change(image.id, ImageChange(notes="x"), ADA, revision=1)
    assert (await workshop.images.change(image.id, ImageChange(channel="beta"), ADA)).revision == 2


# ── offers ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_device_is_offered_what_is_rolled_out_with_a_link_of_its_own(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    await workshop.device(1)
    answer = await workshop.boot(1)
    assert isinstance(answer, FirmwareOffer)
    assert (answer.version, answer.force) == ("2.3.1", False)
    assert answer.url.startswith(f"{ORIGIN}/xiaozhi/firmware/{rollout}/{device_id(1)}?until=")
    assert await workshop.states(rollout) == {"01": "offered"}


async def test_without_anything_to_offer_the_reason_says_why(workshop: Workshop) -> None:
    await workshop.device(1)
    assert reason(await workshop.boot(1)) == "no image for this board"
    image = await workshop.image()
    assert reason(await workshop.boot(1)) == "no roll-out for this board"
    assert image.id is not None
    await workshop.rollouts.create(image.id, Terms(), ADA, paused=True)
    assert reason(await workshop.boot(1)) == "the roll-out is paused"
    assert reason(await workshop.boot(1, board="other")) == "no image for this board"


@pytest.mark.parametrize(
    ("fields", "told", "why"),
    [
        ({"auto_update": False}, report(), "auto_update is off"),
        ({}, report(chip="esp32"), "chip esp32 but image is for esp32s3"),
        ({}, report(slot_bytes=10_000), "does not fit the partition of 10,000 bytes"),
    ],
)
async def test_what_its_row_and_report_say_is_respected(
    workshop: Workshop, fields: dict[str, object], told: dict[str, object], why: str
) -> None:
    rollout = await begin(workshop)
    await workshop.device(1, **fields)  # type: ignore[arg-type]
    assert why in reason(await workshop.boot(1, told=told))
    assert await workshop.states(rollout) == {}


async def test_a_channel_reaches_its_own_devices_alone(workshop: Workshop) -> None:
    await begin(workshop, channel="beta")
    await workshop.device(1, channel="beta")
    await workshop.device(2)
    assert isinstance(await workshop.boot(1), FirmwareOffer)
    assert reason(await workshop.boot(2)) == "on channel stable, not beta"


async def test_owners_and_groups_narrow_it(workshop: Workshop) -> None:
    await begin(workshop, owners=["u-bob"])
    await workshop.device(1, owner_id="u-bob")
    await workshop.device(2, owner_id="u-eve")
    assert isinstance(await workshop.boot(1), FirmwareOffer)
    assert "owner" in reason(await workshop.boot(2))


async def test_force_reaches_devices_that_do_not_update_by_themselves(workshop: Workshop) -> None:
    await begin(workshop, force=True)
    await workshop.device(1, auto_update=False)
    answer = await workshop.boot(1, version="2.9.9")
    assert isinstance(answer, FirmwareOffer)
    assert answer.force
    # The version that it has is never sent with force: it would flash at each start.
    assert reason(await workshop.boot(1, version="2.3.1")) == "runs 2.3.1 already"


async def test_a_roll_out_to_one_of_three_devices(workshop: Workshop) -> None:
    ids = [await workshop.device(number) for number in (1, 2, 3)]
    rollout = await begin(workshop, devices=[ids[1]])
    answers = [await workshop.boot(number) for number in (1, 2, 3)]
    assert [isinstance(answer, FirmwareOffer) for answer in answers] == [False, True, False]
    assert await workshop.states(rollout) == {"02": "offered"}


async def test_percent_can_be_raised_and_reaches_those_below_it(workshop: Workshop) -> None:
    numbers = range(1, 9)
    for number in numbers:
        await workshop.device(number)
    rollout = await begin(workshop, percent=50)
    first = {number for number in numbers if position(rollout, device_id(number)) < 50}
    offered = {number for number in numbers if isinstance(await workshop.boot(number), FirmwareOffer)}
    assert offered == first
    await workshop.rollouts.change(rollout, Terms(percent=100), ADA)
    assert all([isinstance(await workshop.boot(number), FirmwareOffer) for number in numbers])


async def test_a_pause_that_was_answered_is_in_force_whatever_is_in_memory(workshop: Workshop) -> None:
    """Attack: a pause while OTA requests are being answered."""
    rollout = await begin(workshop)
    for number in range(1, 21):
        await workshop.device(number)
    await workshop.offers.refresh()

    async def ask(number: int) -> None:
        request = _request(number)
        answer = await workshop.offers.offer(request, ORIGIN)
        if paused.is_set() and number not in asking:
            late.append(answer)

    paused, asking, late = asyncio.Event(), set(range(1, 11)), list[FirmwareOffer | NoFirmware]()

    async def pause() -> None:
        await workshop.rollouts.pause(rollout, ADA)
        paused.set()

    await asyncio.gather(*(ask(number) for number in asking), pause())
    for number in range(11, 21):  # the memory of this process has not been refreshed
        await ask(number)
    assert [reason(answer) for answer in late] == ["the roll-out is paused"] * 10
    assert not {f"{number:02x}" for number in range(11, 21)} & set(await workshop.states(rollout))


def _request(number: int) -> OtaRequest:
    return OtaRequest(
        device_id=device_id(number), client_id="c", board=BOARD, firmware_version="2.2.1", report=report()
    )


async def test_a_device_that_asks_twice_at_once_is_one_device(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    await workshop.device(1)
    await workshop.offers.refresh()
    answers = await asyncio.gather(*(workshop.offers.offer(_request(1), ORIGIN) for _ in range(5)))
    assert all(isinstance(answer, FirmwareOffer) for answer in answers)
    assert await workshop.states(rollout) == {"01": "offered"}


async def test_a_database_that_fails_costs_the_offer_alone(workshop: Workshop) -> None:
    await begin(workshop)
    await workshop.device(1)
    await workshop.offers.refresh()
    store: Store = workshop.store
    await store.aclose()
    assert "database" in reason(await workshop.offers.offer(_request(1), ORIGIN))
    await store.open()


# ── downloads and what came of them ──────────────────────────────────────────────────────────────────────


async def test_a_device_that_downloads_and_comes_back_is_done(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    await workshop.device(1)
    await workshop.boot(1)
    assert await workshop.download(rollout, 1, size=5_000) == images.image()[:5_000]
    assert await workshop.states(rollout) == {"01": "downloading"}
    assert (await workshop.takers(rollout))[0].bytes_sent == 5_000
    assert await workshop.download(rollout, 1) == images.image()
    assert await workshop.states(rollout) == {"01": "downloaded"}
    await workshop.boot(1, version="2.3.1")
    await workshop.watch.judge()
    (row,) = await workshop.takers(rollout)
    assert (row.progress, row.from_version, row.attempts, row.bytes_sent) == (
        "done", "2.2.1", 1, len(images.image()),
    )  # fmt: skip


async def test_a_cut_download_goes_on_and_only_bytes_without_a_gap_count(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    await workshop.device(1)
    await workshop.boot(1)
    await workshop.download(rollout, 1, size=5_000)
    key = Key("firmware", rollout, device_id(1))

    async def fetch(start: int) -> None:
        download = await workshop.downloads.open(key)
        async for part in (await download.content(start, download.size)).parts:
            download.sent(len(part))
        download.close(complete=True)
        await workshop.written()

    await fetch(6_000)  # a gap: what a device without the beginning has is no image
    assert await workshop.states(rollout) == {"01": "downloading"}
    await fetch(4_000)
    assert await workshop.states(rollout) == {"01": "downloaded"}


async def test_progress_is_written_rarely_however_many_parts_there_are(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    await workshop.device(1)
    await workshop.boot(1)
    written = list[object]()
    add = workshop.downloads._writer.add

    def noted(record: Sent) -> None:
        written.append(record)
        add(record)

    workshop.downloads._writer.add = noted  # type: ignore[method-assign]
    download = await workshop.downloads.open(Key("firmware", rollout, device_id(1)))
    await download.content(0, download.size)
    for _ in range(2_000):
        workshop.moment.forward(seconds=0.02)
        download.sent(10)
    download.close(complete=False)
    assert len(written) <= 6


async def test_downloads_are_bounded_in_all_and_for_each_device(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    for number in range(1, 80):
        await workshop.device(number)
    await workshop.boot(1)
    held = [
        await workshop.downloads.open(Key("firmware", rollout, device_id(1))) for _ in range(MAX_PER_DEVICE)
    ]
    with pytest.raises(LimitReached):
        await workshop.downloads.open(Key("firmware", rollout, device_id(1)))
    for number in range(2, 2 + MAX_AT_ONCE - MAX_PER_DEVICE):
        await workshop.boot(number)
        held.append(await workshop.downloads.open(Key("firmware", rollout, device_id(number))))
    assert "too many devices download at once" in reason(await workshop.boot(79))
    held.pop().close(complete=False)
    assert isinstance(await workshop.boot(79), FirmwareOffer)
    for each in held:
        each.close(complete=False)
    assert workshop.downloads.running == 0


async def test_no_more_devices_are_offered_an_image_than_can_fetch_it(workshop: Workshop) -> None:
    await begin(workshop)
    for number in range(1, MAX_AT_ONCE + 3):
        await workshop.device(number)
    for number in range(1, MAX_AT_ONCE + 1):
        workshop.downloads.reserve(device_id(number))
    assert isinstance(await workshop.boot(1), FirmwareOffer)
    assert "at once" in reason(await workshop.boot(MAX_AT_ONCE + 1))
    workshop.moment.forward(seconds=61)  # they did not begin
    assert isinstance(await workshop.boot(MAX_AT_ONCE + 2), FirmwareOffer)


async def test_a_device_that_was_not_offered_an_image_can_not_fetch_it(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    await workshop.device(1)
    for key in (
        Key("firmware", rollout, device_id(1)),
        Key("firmware", 99, device_id(1)),
        Key("assets", 1, "x"),
    ):
        with pytest.raises(NotFound):
            await workshop.downloads.open(key)
    assert workshop.downloads.running == 0


@pytest.mark.parametrize("stop", ["pause", "roll_back"])
async def test_a_download_does_not_begin_after_the_roll_out_was_stopped(
    workshop: Workshop, stop: str
) -> None:
    await workshop.image("2.2.1")
    rollout = await begin(workshop)
    await workshop.device(1)
    await workshop.boot(1)
    await getattr(workshop.rollouts, stop)(rollout, ADA)
    with pytest.raises(Conflict, match="ask OTA again"):
        await workshop.download(rollout, 1)


async def test_a_device_that_keeps_its_old_version_fails_and_is_not_asked_for_ever(
    workshop: Workshop,
) -> None:
    rollout = await begin(workshop, halt_after=100)
    await workshop.device(1)
    for attempt in (1, 2, 3):
        assert isinstance(await workshop.boot(1), FirmwareOffer)
        await workshop.download(rollout, 1)
        assert "came back with 2.2.1" in reason(await workshop.boot(1))
        assert await workshop.states(rollout) == {"01": "failed"}
        assert (await workshop.takers(rollout))[0].attempts == attempt
    assert reason(await workshop.boot(1)) == "downloaded it 3 times, and still runs 2.2.1"


async def test_it_halts_when_devices_do_not_come_back_but_not_at_the_first(workshop: Workshop) -> None:
    rollout = await begin(workshop, come_back_min=15)
    for number in (1, 2, 3):
        await workshop.device(number)
    for number in (1, 2):
        await workshop.boot(number)
        await workshop.download(rollout, number)
        workshop.moment.forward(minutes=16)
        await workshop.watch.judge()
        assert await workshop.state(rollout) == ("running" if number == 1 else "halted")
    assert await workshop.states(rollout) == {"01": "gone", "02": "gone"}
    assert reason(await workshop.boot(3)) == "the roll-out halted: devices did not come back"
    (event,) = [each for each in workshop.events if isinstance(each, RollOutHalted)]
    assert (event.rollout_id, event.version) == (rollout, "2.3.1")
    assert "2 of 2 devices" in workshop.watch.halted[rollout]
    # One comes back after all; a person lets the roll-out go on, and the old losses don't halt it again.
    await workshop.boot(2, version="2.3.1")
    await workshop.rollouts.resume(rollout, ADA, workshop.moment.now)
    await workshop.watch.judge()
    assert await workshop.states(rollout) == {"01": "gone", "02": "done"}
    assert await workshop.state(rollout) == "running"
    assert workshop.watch.halted == {}
    assert isinstance(await workshop.boot(3), FirmwareOffer)


async def test_devices_that_start_the_new_firmware_and_do_not_connect_halt_it_too(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    for number in (1, 2):
        await workshop.device(number)
        await workshop.boot(number)
        await workshop.download(rollout, number)
        await workshop.boot(number, version="2.3.1", connect=False)
    workshop.moment.forward(minutes=16)
    await workshop.watch.judge()
    assert await workshop.state(rollout) == "halted"
    assert {row.reason for row in await workshop.takers(rollout)} == {"started 2.3.1, but did not connect"}


async def test_a_clock_that_jumps_does_not_make_devices_lost(workshop: Workshop) -> None:
    """Attack: the clock of a machine without a battery is set after its start."""
    rollout = await begin(workshop)
    for number in (1, 2, 3):
        await workshop.device(number)
        await workshop.boot(number)
        await workshop.download(rollout, number)
    for jump in (400.0, -800.0):
        workshop.moment.set(days=jump)
        await workshop.watch.judge()
        assert await workshop.states(rollout) == {"01": "downloaded", "02": "downloaded", "03": "downloaded"}
    workshop.moment.forward(minutes=16)
    await workshop.watch.judge()
    assert await workshop.state(rollout) == "halted"


async def test_times_begin_and_end_a_roll_out(workshop: Workshop) -> None:
    now = workshop.moment.now
    rollout = await begin(workshop, starts_at=now + timedelta(hours=1), ends_at=now + timedelta(hours=2))
    await workshop.device(1)
    assert "starts at" in reason(await workshop.boot(1))
    workshop.moment.forward(hours=1)
    assert isinstance(await workshop.boot(1), FirmwareOffer)
    workshop.moment.forward(hours=1)
    await workshop.watch.judge()
    assert await workshop.state(rollout) == "ended"
    assert reason(await workshop.boot(1)) == "no roll-out for this board"
    with pytest.raises(Conflict, match="is ended"):
        await workshop.rollouts.resume(rollout, ADA)


async def test_a_roll_back_offers_the_version_before_to_those_that_took_it(workshop: Workshop) -> None:
    old = await workshop.image("2.2.1")
    await workshop.image("2.0.0")
    rollout = await begin(workshop)
    for number in (1, 2, 3):
        await workshop.device(number, auto_update=number != 1)
    await workshop.device(4, version="2.0.0")
    for number in (2, 3):
        await workshop.boot(number)
        await workshop.download(rollout, number)
        await workshop.boot(number, version="2.3.1")
    back = await workshop.rollouts.roll_back(rollout, ADA)
    assert (back.image.id, back.row.kind, back.row.force) == (old.id, "roll-back", True)
    assert await workshop.state(rollout) == "rolled back"
    answer = await workshop.boot(2, version="2.3.1")
    assert isinstance(answer, FirmwareOffer)
    assert (answer.version, answer.force) == ("2.2.1", True)
    assert (
        reason(await workshop.boot(4, version="2.0.0"))
        == "it does not run what the roll-out that is taken back brought"
    )
    assert reason(await workshop.boot(1)) == "runs 2.2.1 already"
    assert back.row.id is not None
    await workshop.download(back.row.id, 2)
    await workshop.boot(2, version="2.2.1")
    await workshop.watch.judge()
    assert await workshop.states(back.row.id) == {"02": "done"}
    with pytest.raises(Conflict, match="already"):
        await workshop.rollouts.roll_back(rollout, ADA)


async def test_a_roll_back_leaves_alone_who_has_come_to_another_version_since(workshop: Workshop) -> None:
    await workshop.image("2.2.1")
    rollout = await begin(workshop)
    await workshop.device(1)
    await workshop.boot(1)
    await workshop.download(rollout, 1)
    await workshop.boot(1, version="2.3.1")
    await workshop.rollouts.roll_back(rollout, ADA)
    brought = "it does not run what the roll-out that is taken back brought"
    assert reason(await workshop.boot(1, version="2.4.0")) == brought
    assert isinstance(await workshop.boot(1, version="2.3.1"), FirmwareOffer)


async def test_what_a_running_roll_out_takes_back_is_not_deleted(workshop: Workshop) -> None:
    """It tells which devices are to go back."""
    await workshop.image("2.2.1")
    rollout = await begin(workshop)
    await workshop.device(1)
    await workshop.boot(1)
    await workshop.download(rollout, 1)
    back = await workshop.rollouts.roll_back(rollout, ADA)
    assert back.row.id is not None
    for _ in range(2):
        with pytest.raises(Conflict, match=f"roll-out {back.row.id} takes it back"):
            await workshop.rollouts.delete(rollout, ADA)
        await workshop.rollouts.pause(back.row.id, ADA)
    await workshop.rollouts.resume(back.row.id, ADA)
    assert isinstance(await workshop.boot(1, version="2.3.1"), FirmwareOffer)
    await workshop.rollouts.end(back.row.id, ADA)
    await workshop.rollouts.delete(rollout, ADA)
    assert await workshop.state(back.row.id) == "ended"


async def test_roll_outs_that_were_over_long_ago_are_not_read_again_and_again(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    await workshop.rollouts.end(rollout, ADA, workshop.moment.now)
    async with workshop.store.read() as session:
        for since, found in ((timedelta(days=1), [rollout]), (timedelta(0), [])):
            moment = workshop.moment.now + timedelta(hours=1) - since
            rows = await firmware.rollouts(session, states=GOING, changed_since=moment)
            assert [row.id for row, _ in rows] == found


async def test_a_roll_back_without_an_older_image_says_what_to_upload(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    await workshop.device(1)
    await workshop.boot(1)
    with pytest.raises(Conflict, match=r"upload 2\.2\.1 first"):
        await workshop.rollouts.roll_back(rollout, ADA)
    assert await workshop.state(rollout) == "running"
    other = await workshop.image("2.2.0")
    back = await workshop.rollouts.roll_back(rollout, ADA, image_id=other.id)
    assert back.image.version == "2.2.0"


async def test_an_upgrade_of_one_device_ends_with_it(workshop: Workshop) -> None:
    image = await workshop.image()
    assert image.id is not None
    await workshop.device(1, auto_update=False)
    await workshop.boot(1)
    upgrade = await workshop.rollouts.upgrade(device_id(1), image.id, ADA, workshop.moment.now)
    await workshop.download(upgrade.id, 1)
    await workshop.boot(1, version="2.3.1")
    await workshop.watch.judge()
    assert (await workshop.states(upgrade.id), await workshop.state(upgrade.id)) == ({"01": "done"}, "ended")
    with pytest.raises(Conflict, match=r"runs 2\.3\.1 already"):
        await workshop.rollouts.upgrade(device_id(1), image.id, ADA)
    await workshop.device(2, board="other")
    with pytest.raises(Conflict, match="no image for this board"):
        await workshop.rollouts.upgrade(device_id(2), image.id, ADA)


@pytest.mark.parametrize(
    ("terms", "word"),
    [
        ({"percent": 101}, "percent"), ({"halt_after": 0}, "halt_after"),
        ({"come_back_min": 0}, "come_back_min"),
        ({"devices": ["aa-bb-cc-00-11-77"]}, "no device"),
        ({"devices": [device_id(1)] * 1_001}, "at most 1000"),
        ({"channel": "a b"}, "channel"), ({"owners": [""]}, "owners"),
    ],
)  # fmt: skip
async def test_terms_that_can_not_be_met_are_refused(
    workshop: Workshop, terms: dict[str, object], word: str
) -> None:
    with pytest.raises(Invalid, match=word):
        await begin(workshop, **terms)


async def test_an_end_in_the_past_or_before_the_start_is_refused(workshop: Workshop) -> None:
    now, hour = workshop.moment.now, timedelta(hours=1)
    with pytest.raises(Invalid, match="over already"):
        await begin(workshop, ends_at=now - hour)
    image = (await workshop.images.list())[0]
    assert image.id is not None
    with pytest.raises(Invalid, match="after starts_at"):
        await workshop.rollouts.create(
            image.id, Terms(starts_at=now + 2 * hour, ends_at=now + hour), ADA, now=now
        )


async def test_a_forgotten_device_leaves_the_roll_out(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    await workshop.device(1)
    await workshop.boot(1)
    async with workshop.store.write() as session:
        await devices.forget(session, [device_id(1)], workshop.moment.now)
    assert await workshop.states(rollout) == {}
    async with workshop.store.read() as session:
        pairs = await firmware.rollouts(session, states=[State.RUNNING])
    assert len(pairs) == 1


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────


async def test_each_step_of_a_device_and_of_the_roll_out_is_an_event(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    await workshop.device(1)
    await workshop.boot(1)
    fetched = len(await workshop.download(rollout, 1))
    await workshop.boot(1, version="2.3.1")
    await workshop.watch.judge()
    await workshop.rollouts.pause(rollout, ADA)
    await workshop.rollouts.end(rollout, ADA)
    await workshop.rollouts.delete(rollout, ADA)
    steps = [
        (event.kind, event.number, event.device_id, event.state, event.bytes_sent)
        for event in workshop.events
        if isinstance(event, DeliveryProgressed)
    ]
    assert steps == [
        ("firmware", rollout, device_id(1), state, size)
        for state, size in (("offered", 0), ("downloaded", fetched), ("done", fetched))
    ]
    states = [event.state for event in workshop.events if isinstance(event, RollOutChanged)]
    assert states == ["running", "paused", "ended", ""]


async def test_a_long_download_tells_its_bytes_once_a_second_at_most(workshop: Workshop) -> None:
    rollout = await begin(workshop)
    await workshop.device(1)
    await workshop.boot(1)
    download = await workshop.downloads.open(Key("firmware", rollout, device_id(1)))
    await download.content(0, download.size)
    for _ in range(6):
        workshop.moment.forward(seconds=0.5)
        download.sent(1_000)
    sizes = [
        event.bytes_sent
        for event in workshop.events
        if isinstance(event, DeliveryProgressed) and event.state == "downloading"
    ]
    assert sizes == [2_000, 4_000, 6_000]
    download.close(complete=False)


async def test_the_reach_of_a_roll_out_is_counted_before_it_is_made_and_changed(workshop: Workshop) -> None:
    rollout = await begin(workshop, percent=50)
    image = (await workshop.rollouts.get(rollout)).image
    assert image.id is not None
    for number in range(1, 41):
        await workshop.device(number, channel="beta" if number == 40 else "")
        await workshop.boot(number)
    await workshop.device(41, "2.3.1")
    await workshop.device(42, auto_update=False)
    await workshop.boot(42)
    await workshop.device(43, board="other")
    new = await workshop.rollouts.reach(image.id, Terms(percent=25))
    assert (new.board_devices, new.meant, new.reached) == (42, 40, 10)
    assert dict(new.others) == {
        "it does not tell its chip, and the image is for esp32s3": 1,
        "does not update by itself (auto_update is off)": 1,
    }
    changed = await workshop.rollouts.reach(image.id, Terms(), rollout)
    within = sum(position(rollout, device_id(number)) < 50 for number in range(1, 41))
    assert (changed.meant, changed.reached) == (40, within)
    assert (await workshop.rollouts.reach(image.id, Terms(percent=100), rollout)).reached == 40
    assert (await workshop.rollouts.reach(image.id, Terms(channel="beta"))).reached == 1
    assert (await workshop.rollouts.reach(image.id, Terms(devices=[device_id(3)]))).reached == 1
    with pytest.raises(NotFound):
        await workshop.rollouts.reach(99, Terms())
