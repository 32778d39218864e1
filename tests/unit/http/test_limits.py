from mimi_mqtt.http.limits import RateLimiter


def test_so_many_a_minute_and_then_a_wait() -> None:
    limiter = RateLimiter(60)
    assert [limiter.wait_s("10.0.0.1", 100.0) for _ in range(60)] == [0.0] * 60
    assert limiter.wait_s("10.0.0.1", 100.0) == 1.0
    assert limiter.wait_s("10.0.0.1", 100.5) == 0.5
    assert limiter.wait_s("10.0.0.1", 101.0) == 0.0
    assert limiter.wait_s("10.0.0.2", 100.0) == 0.0


def test_another_time_than_a_minute() -> None:
    limiter = RateLimiter(2, period_s=3600)
    assert [limiter.wait_s("10.0.0.1", 0.0) for _ in range(3)] == [0.0, 0.0, 1800.0]


def test_a_refused_request_costs_nothing_further() -> None:
    limiter = RateLimiter(1)
    limiter.wait_s("10.0.0.1", 0.0)
    for moment in range(1, 60):
        assert limiter.wait_s("10.0.0.1", float(moment)) > 0
    assert limiter.wait_s("10.0.0.1", 60.0) == 0.0


def test_one_network_of_ipv6_is_one_address() -> None:
    limiter = RateLimiter(1)
    assert limiter.wait_s("2001:db8::1", 0.0) == 0.0
    assert limiter.wait_s("2001:db8::ffff%eth0", 0.0) > 0
    assert limiter.wait_s("2001:db8:0:1::1", 0.0) == 0.0
    assert limiter.wait_s("10.0.0.1", 0.0) == 0.0
    assert limiter.wait_s("::ffff:10.0.0.1", 0.0) > 0


def test_a_flood_of_addresses_takes_bounded_room() -> None:
    limiter = RateLimiter(5, max_addresses=100)
    for number in range(10_000):
        limiter.wait_s(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(limiter) == 100


def test_a_clock_that_stands_still_gives_nothing_back() -> None:
    limiter = RateLimiter(1)
    assert limiter.wait_s("a", 10.0) == 0.0
    assert limiter.wait_s("a", 5.0) > 0
