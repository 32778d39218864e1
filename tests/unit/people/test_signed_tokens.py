"""Attacks on signed tokens: each forged, foreign or expired one is refused."""

import base64
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.people.signed_tokens import MAX_TOKEN_CHARS, TokenVerifier, sign

KEY = b"k" * 32
OTHER = b"o" * 32
CLAIMS = {"sub": "u1", "scope": "profile"}


def verifier(*keys: bytes, audience: str | None = "mimi_mqtt") -> TokenVerifier:
    return TokenVerifier(lambda: keys or (KEY,), audience, required=("sub", "iat", "jti"))


def token(key: bytes = KEY, audience: str = "mimi_mqtt", lifetime_s: float = 60) -> str:
    return sign(key, CLAIMS, audience=audience, now=datetime.now(UTC), lifetime_s=lifetime_s)


def part(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_token_tells_its_claims() -> None:
    claims = verifier().verify(token())
    assert claims is not None
    assert (claims["sub"], claims["aud"]) == ("u1", "mimi_mqtt")
    assert claims["exp"] - claims["iat"] == 60
    assert len(claims["jti"]) == 32


def test_token_without_signature_is_refused() -> None:
    payload = token().split(".")[1]
    for algorithm in ("none", "None", "NONE", ""):
        head = part({"alg": algorithm, "typ": "JWT"})
        for signature in ("", token().split(".")[2]):
            assert verifier().verify(f"{head}.{payload}.{signature}") is None


def test_token_for_another_audience_is_refused() -> None:
    assert verifier().verify(token(audience="companion")) is None
    assert verifier(audience="companion").verify(token(audience="companion")) is not None


def test_token_that_expired_is_refused_beyond_the_leeway() -> None:
    expired = token(lifetime_s=-5)
    assert verifier().verify(expired) is None
    assert TokenVerifier(lambda: (KEY,), "mimi_mqtt", leeway_s=30).verify(expired) is not None


def test_token_from_the_future_is_refused() -> None:
    later = sign(KEY, CLAIMS, audience="mimi_mqtt", now=datetime.now(UTC) + timedelta(hours=1), lifetime_s=60)
    assert verifier().verify(later) is None


@pytest.mark.parametrize("missing", ["exp", "sub", "aud", "iat", "jti"])
def test_token_without_a_required_claim_is_refused(missing: str) -> None:
    now = datetime.now(UTC)
    claims = {"sub": "u1", "aud": "mimi_mqtt", "iat": now, "exp": now + timedelta(minutes=1), "jti": "j"}
    assert verifier().verify(jwt.encode(claims, KEY, "HS256")) is not None
    del claims[missing]
    assert verifier().verify(jwt.encode(claims, KEY, "HS256")) is None


def test_token_signed_with_another_key_is_refused() -> None:
    assert verifier().verify(token(OTHER)) is None
    assert verifier(KEY, OTHER).verify(token(OTHER)) is not None, "the key of before a rotation"


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_token_with_another_algorithm_is_refused_though_the_key_is_right(algorithm: str) -> None:
    now = datetime.now(UTC)
    claims = {"sub": "u1", "aud": "mimi_mqtt", "iat": now, "exp": now + timedelta(minutes=1), "jti": "j"}
    assert verifier(b"k" * 64).verify(jwt.encode(claims, b"k" * 64, algorithm)) is None


def test_token_signed_with_a_private_key_is_refused() -> None:
    private = rsa.generate_private_key(65537, 2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    now = datetime.now(UTC)
    claims = {"sub": "u1", "aud": "mimi_mqtt", "iat": now, "exp": now + timedelta(minutes=1), "jti": "j"}
    signed = jwt.encode(claims, private, "RS256")
    assert verifier().verify(signed) is None
    # A verifier whose key is a public one, which whoever forges knows, takes no RS256 for HS256 or back.
    head, payload = part({"alg": "RS256", "typ": "JWT"}), signed.split(".")[1]
    forged = hmac.digest(public, f"{head}.{payload}".encode(), "sha256")
    text = f"{head}.{payload}.{base64.urlsafe_b64encode(forged).rstrip(b'=').decode()}"
    assert verifier(public).verify(text) is None


def test_token_with_a_changed_payload_is_refused() -> None:
    head, payload, signature = token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert verifier().verify(f"{head}.{part({**claims, 'sub': 'u2'})}.{signature}") is None


def test_short_shared_keys_are_taken_as_other_programs_take_them() -> None:
    claims = {"sub": "u1", "exp": datetime.now(UTC) + timedelta(minutes=1)}
    signed = jwt.encode(claims, b"0123456789".ljust(32, b"\0"), "HS256")
    head, payload, signature = signed.split(".")
    plain = hmac.digest(b"0123456789", f"{head}.{payload}".encode(), "sha256")
    assert base64.urlsafe_b64encode(plain).rstrip(b"=").decode() == signature
    assert TokenVerifier(lambda: (b"0123456789",), None).verify(signed) is not None


def test_empty_key_is_never_used() -> None:
    with pytest.raises(ValueError, match="empty"):
        TokenVerifier(lambda: (b"",), None).verify(token())


def test_long_token_is_not_looked_at() -> None:
    assert verifier().verify("a" * (MAX_TOKEN_CHARS + 1)) is None


@given(st.text(max_size=200) | st.builds(".".join, st.lists(st.text(max_size=40), min_size=3, max_size=3)))
def test_any_text_is_refused_without_an_error(text: str) -> None:
    assert verifier().verify(text) is None
