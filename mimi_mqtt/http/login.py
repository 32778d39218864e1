"""Signing in by OpenID Connect: the way to the provider and back, as the authorization code flow with state,
nonce and PKCE (OpenID Connect Core 1.0, section 3.1; RFC 7636).

Authlib does the protocol. It is imported with the first request, in a thread.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from mimi_mqtt.config import OidcSettings
from mimi_mqtt.errors import MimiError, RequestError
from mimi_mqtt.http import session_cookie
from mimi_mqtt.http.hosts import HostRules
from mimi_mqtt.http.replies import error_reply, json_reply
from mimi_mqtt.people.access import Caller, Presented, Via
from mimi_mqtt.people.access import Scope as Right
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.openid import vouched
from mimi_mqtt.shares import shown

if TYPE_CHECKING:
    from authlib.integrations.starlette_client import StarletteOAuth2App

LOGIN_PATH: Final = "/login/oidc"
"""Path that sends a browser to the provider; the provider sends it back to the one below, `/callback`."""
FLOW_COOKIE: Final = "mimi_login"
"""Name of the signed cookie that holds state, nonce and PKCE verifier in the meantime."""
FLOW_S: Final = 600
"""Seconds in which a person must be back from the provider."""
PROVIDER_TIMEOUT_S: Final = 10.0
"""Longest wait for an answer of the provider, in seconds."""
AFTER: Final = "/"
"""The page to which a person comes who signed in."""

_ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
_LINKING: Final = "mimi_linking"
_AT_HOME: Final = b"here"
"""The query of a request that was sent on to http.public_url, and is sent on no further."""

_log = logging.getLogger(__name__)


class OpenIdLogin:
    """The endpoints below `LOGIN_PATH`. `key` gives the key that signs the cookie; `public_url` is
    http.public_url, to which the provider sends people back."""

    def __init__(self, people: Accounts, key: Callable[[], bytes], public_url: str | None = None) -> None:
        self._people = people
        self._key = key
        self._public_url = public_url
        self._apps: dict[tuple[bytes, bool], ASGIApp] = {}
        self._client: StarletteOAuth2App | None = None
        self._loading = asyncio.Lock()

    def routes(self) -> list[Route]:
        """Its routes."""
        return [Route(LOGIN_PATH, self), Route(f"{LOGIN_PATH}/callback", self)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if self._people.oidc.issuer is None:
            reply = error_reply(404, "no OpenID provider is set: see oidc.issuer in broker.yaml")
            await reply(scope, receive, send)
            return
        if self._public_url is not None and (
            scope["query_string"] == _AT_HOME or scope["path"] != LOGIN_PATH
        ):
            # A proxy that is not trusted, and has its own idea of Host, hides the way that this came.
            scope = {**scope, "scheme": self._public_url.partition(":")[0]}
        app = await self._app(secure=scope.get("scheme") == "https")
        await app(scope, receive, send)

    async def _app(self, *, secure: bool) -> ASGIApp:
        key = self._key()
        if (app := self._apps.get((key, secure))) is None:
            async with self._loading:
                if self._client is None:
                    self._client = await asyncio.to_thread(_make_client, self._people.oidc)
            app = await asyncio.to_thread(self._make_app, key, secure)
            self._apps = {kept: made for kept, made in self._apps.items() if kept[0] == key}
            self._apps[key, secure] = app
        return app

    def _make_app(self, key: bytes, secure: bool) -> ASGIApp:
        from starlette.middleware.sessions import SessionMiddleware

        router = Router(
            [
                Route(LOGIN_PATH, self._start, methods=["GET"]),
                Route(LOGIN_PATH, self._start_linking, methods=["POST"]),
                Route(f"{LOGIN_PATH}/callback", self._callback, methods=["GET"], name="callback"),
            ],
            redirect_slashes=False,
        )
        return SessionMiddleware(
            router, key.hex(), session_cookie=FLOW_COOKIE, max_age=FLOW_S, path=LOGIN_PATH,
            same_site="lax", https_only=secure,
        )  # fmt: skip

    async def _start(self, request: Request) -> Response:
        """Sends the browser to the provider."""
        request.session.clear()
        if self._elsewhere(request) is not None and request.scope["query_string"] != _AT_HOME:
            return RedirectResponse(f"{self._public_url}{LOGIN_PATH}?{_AT_HOME.decode()}", 303)
        return await self._to_provider(request)

    def _elsewhere(self, request: Request) -> str | None:
        """The public address, when the browser is at another one: the provider would send it back to where
        its cookie is not."""
        if self._public_url is None or self._people.oidc.callback_url is not None:
            return None
        headers = request.headers
        rules = HostRules(public_url=self._public_url)
        if rules.is_public(headers.get("origin", ""), headers.get("host", "")):
            return None
        return self._public_url

    async def _start_linking(self, request: Request) -> Response:
        """The provider's address, for a person who is signed in and wants to link an identity. A page of
        another origin can't make this request, and following a link does not start it."""
        caller = await self._signed_in(request)
        if caller is None:
            return error_reply(401, "sign in first, in this browser: then an identity can be linked")
        if (home := self._elsewhere(request)) is not None:
            return error_reply(409, f"identities are linked at {home} (http.public_url): open the app there")
        request.session.clear()
        request.session[_LINKING] = caller.user_id
        reply = await self._to_provider(request)
        if reply.status_code >= 400:
            return reply
        return json_reply({"url": reply.headers["location"]})

    async def _to_provider(self, request: Request) -> Response:
        path = f"{LOGIN_PATH}/callback"
        callback = self._people.oidc.callback_url
        if callback is None and self._public_url is not None:
            callback = f"{self._public_url}{path}"
        callback = callback or str(request.url.replace(path=path, query="", fragment=""))
        client = self._opened()
        try:
            await self._metadata()
            reply: Response = await client.authorize_redirect(request, callback)
        except Exception as error:  # noqa: BLE001 - the border of the library and of what the provider answers
            return self._unusable(error)
        return reply

    async def _callback(self, request: Request) -> Response:
        """Signs in whom the provider vouches for."""
        from authlib.integrations.base_client import MismatchingStateError, OAuthError

        linking = request.session.get(_LINKING)
        client = self._opened()
        try:
            issuer = await self._metadata()
            token: dict[str, Any] = await client.authorize_access_token(request)
            claims = await self._claims(client, token)
        except MismatchingStateError:
            return error_reply(
                400, "this is not the answer to a sign-in that began in this browser in the last "
                f"{FLOW_S // 60} minutes: begin again"
            )  # fmt: skip
        except OAuthError as error:
            _log.warning("the OpenID provider refused a sign-in: %s", shown(str(error.error)))
            return error_reply(400, "the sign-in was refused by the provider, or broken off: begin again")
        except Exception as error:  # noqa: BLE001 - the border of the library and of what the provider answers
            return self._unusable(error)
        finally:
            request.session.clear()
        return await self._signs_in(request, issuer, claims, linking)

    async def _signs_in(
        self, request: Request, issuer: str, claims: dict[str, Any], linking: object
    ) -> Response:
        people, now = self._people, datetime.now(UTC)
        holder = session_cookie.holder_of(request)
        try:
            person = vouched(issuer, claims, people.oidc)
            if linking is not None:
                caller = await self._signed_in(request)
                if caller is None or caller.user_id != linking:
                    return error_reply(400, "another person is signed in by now: begin again")
                await people.openid.link(caller, caller.user_id, issuer, person.subject, now)
                return RedirectResponse(AFTER, 303)
            user = await people.openid.sign_in(person, holder, now)
            session = await people.sessions.begin(user, session_cookie.browser_of(request), now)
        except RequestError as error:
            return error_reply(403, str(error))
        reply = RedirectResponse(AFTER, 303)
        session_cookie.give(reply, request, session)
        return reply

    async def _signed_in(self, request: Request) -> Caller | None:
        browser = session_cookie.browser_of(request)
        shown = Presented(session=browser.cookie, address=browser.address)
        caller = await self._people.authenticator.authenticate(shown)
        usable = caller is not None and caller.via is Via.SESSION and caller.may(Right.PROFILE)
        return caller if usable else None

    @staticmethod
    async def _claims(client: "StarletteOAuth2App", token: dict[str, Any]) -> dict[str, Any]:
        """The claims of the ID token, with those that only userinfo tells."""
        claims = dict(token["userinfo"])
        metadata = await client.load_server_metadata()
        if metadata.get("userinfo_endpoint"):
            more = await client.userinfo(token=token)
            # Userinfo of another person must not be used (OpenID Connect Core 1.0, section 5.3.2).
            if more.get("sub") == claims.get("sub"):
                claims = {**more, **claims}
        return claims

    async def _metadata(self) -> str:
        """Reads the provider's description, once; returns its issuer. Raises ValueError when it is another
        one's (OpenID Connect Discovery 1.0, section 4.3)."""
        found: dict[str, Any] = await self._opened().load_server_metadata()
        told = str(found.get("issuer", "")).rstrip("/")
        wanted = (self._people.oidc.issuer or "").rstrip("/")
        if told != wanted:
            raise ValueError(f"its issuer is {told[:200]!r}, and oidc.issuer is {wanted!r}")
        # Never `none`, nor a shared key, whatever the provider offers.
        offered = found.get("id_token_signing_alg_values_supported") or ["RS256"]
        found["id_token_signing_alg_values_supported"] = [each for each in offered if each in _ALGORITHMS]
        return told

    def _opened(self) -> "StarletteOAuth2App":
        assert self._client is not None  # noqa: S101 - `_app` made it
        return self._client

    @staticmethod
    def _unusable(error: Exception) -> Response:
        if isinstance(error, MimiError):
            raise error
        _log.warning("the OpenID provider can't be used: %s: %s", type(error).__name__, shown(str(error)))
        return error_reply(
            502, "the sign-in provider can't be reached, or its answer can't be used: try again later, or "
            "sign in with a password; the server's log has the reason"
        )  # fmt: skip


def _make_client(settings: OidcSettings) -> "StarletteOAuth2App":
    from authlib.integrations.starlette_client import OAuth

    assert settings.issuer is not None  # noqa: S101 - asked before
    assert settings.client_secret is not None  # noqa: S101 - the settings hold it together
    client: StarletteOAuth2App = OAuth().register(
        "oidc",
        client_id=settings.client_id,
        client_secret=settings.client_secret.get_secret_value(),
        server_metadata_url=settings.issuer.rstrip("/") + "/.well-known/openid-configuration",
        client_kwargs={
            "scope": " ".join(settings.scopes),
            "code_challenge_method": "S256",
            "timeout": PROVIDER_TIMEOUT_S,
        },
    )
    return client
