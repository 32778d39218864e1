"""Taking secrets, names and addresses out of texts that leave the house; pure.

Secrets, ids and names are known ones: secrets and ids are found wherever they stand, names where a word
begins. Addresses are found by their form.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

SECRET: Final = "(secret)"  # noqa: S105 - what stands in place of one
NAME: Final = "(name)"
MAX_NAME_WORDS: Final = 6
"""Words of a name; a longer one is found by its first ones."""
MIN_SECRET_CHARS: Final = 6
"""Shorter values are no secrets, and would blank words."""

_MAC: Final = re.compile(
    r"(?<![0-9a-fA-F])(?:[0-9a-fA-F]{2}([-:]))(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}(?![0-9a-fA-F])"
)
_BARE_MAC: Final = re.compile(r"(?<![0-9a-zA-Z])[0-9a-fA-F]{12}(?![0-9a-zA-Z])")
_CODE: Final = re.compile(r"(?<![0-9])[0-9]{6}(?![0-9])")
_IPV4: Final = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\w)")
_IPV6: Final = re.compile(r"(?<![0-9a-fA-F:.])[0-9a-fA-F:.]{2,}")
"""All that an IPv6 address may be in: with a port, punctuation, or an end of a word."""
_SURROUNDING: Final = re.compile(r"^:(?!:)|(?:(?<!:)|(?<=::)):$")
_PUBLIC: Final = "(public IPv{} address)"
# It begins where such characters do: tried at each of them, a word takes the square of its length.
_EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_LOGIN: Final = re.compile(r"(?<=://)[^/\s@]+@")
_WORD: Final = re.compile(r"\w+")


class Redactor:
    """Takes `secrets`, `ids`, `codes` and `names` out of texts; of all but secrets there may be many
    thousands. A code is six digits by themselves. `salt` makes the numbers of devices; `is_device` tells
    whether twelve digits without marks are a device's address."""

    def __init__(
        self,
        *,
        secrets: Iterable[str],
        ids: Iterable[str] = (),
        codes: Iterable[str] = (),
        names: Iterable[str],
        salt: bytes,
        is_device: Callable[[str], bool] = lambda _: False,
    ) -> None:
        known = {text for text in secrets if len(text) >= MIN_SECRET_CHARS}
        # The longest first: one may be the beginning of another.
        self._secrets = sorted(known, key=len, reverse=True)
        self._ids = _Ids(ids)
        self._codes = frozenset(codes)
        self._salt = salt
        self._is_device = is_device
        self._keys: dict[str, str] = {}
        self._names: dict[str, set[tuple[str, ...]]] = {}
        for name in names:
            words = tuple(_WORD.findall(name.casefold()))[:MAX_NAME_WORDS]
            if words and len("".join(words)) > 1:
                self._names.setdefault(words[0], set()).add(words)

    def text(self, text: str) -> str:
        """The text without them."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, SECRET)
        text = self._ids.replaced(text)
        text = _LOGIN.sub(f"{SECRET}@", text)
        text = _EMAIL.sub(NAME, text)
        text = _MAC.sub(lambda found: self.device(found[0]), text)
        text = _BARE_MAC.sub(self._bare, text)
        if self._codes:
            text = _CODE.sub(lambda found: SECRET if found[0] in self._codes else found[0], text)
        text = _IPV6.sub(_without_ipv6, text)
        text = _IPV4.sub(_without_ipv4, text)
        return self._without_names(text)

    def value(self, value: Any) -> Any:
        """The same of all texts in a value of JSON, and of its keys."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self._key(str(key)): self.value(inner) for key, inner in value.items()}
        if isinstance(value, Sequence):
            return [self.value(inner) for inner in value]
        return value

    def _key(self, key: str) -> str:
        """As `text`; kept, as all lines of a file have the same keys."""
        if (told := self._keys.get(key)) is None:
            told = self._keys[key] = self.text(key)
        return told

    def device(self, mac: str) -> str:
        """A MAC address with its manufacturer's half, and a number of this archive in place of the other."""
        digits = re.sub("[-:]", "", mac).lower()
        number = hashlib.blake2b(digits.encode(), key=self._salt, digest_size=3).hexdigest()
        return f"{digits[:2]}-{digits[2:4]}-{digits[4:6]}-x{number}"

    def _bare(self, found: re.Match[str]) -> str:
        return self.device(found[0]) if self._is_device(found[0]) else found[0]

    def _without_names(self, text: str) -> str:
        words = list(_WORD.finditer(text))
        parts, at, index = [], 0, 0
        while index < len(words):
            length = self._name_at(words, index)
            if not length:
                index += 1
                continue
            parts += [text[at : words[index].start()], NAME]
            at = words[index + length - 1].end()
            index += length
        return "".join((*parts, text[at:]))

    def _name_at(self, words: Sequence[re.Match[str]], index: int) -> int:
        """The number of words of the longest name that begins there; 0 for none."""
        names = self._names.get(words[index][0].casefold(), ())
        fits = (
            len(name)
            for name in names
            if name == tuple(word[0].casefold() for word in words[index : index + len(name)])
        )
        return max(fits, default=0)


class _Ids:
    """Finds ids in a text, in a time that does not grow with their number: by their first characters, as many
    as the shortest one has, and their lengths."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = frozenset(filter(None, ids))
        self._chars = min(map(len, self._ids), default=0)
        lengths: dict[str, set[int]] = {}
        for each in self._ids:
            lengths.setdefault(each[: self._chars], set()).add(len(each))
        self._lengths = {start: sorted(found, reverse=True) for start, found in lengths.items()}
        """Of the ids that begin with these characters, the longest first."""

    def replaced(self, text: str) -> str:
        """The text with `SECRET` in place of them, of those that begin at one place the longest."""
        if not self._ids:
            return text
        parts, done, at = [], 0, 0
        while at <= len(text) - self._chars:
            lengths = self._lengths.get(text[at : at + self._chars], ())
            length = next((each for each in lengths if text[at : at + each] in self._ids), 0)
            if length:
                parts += [text[done:at], SECRET]
                done = at + length
            at += length or 1
        return "".join((*parts, text[done:]))


def _without_ipv4(found: re.Match[str]) -> str:
    try:
        return _shortened(found[0], ip_address(found[0]))
    except ValueError:
        return found[0]


def _without_ipv6(found: re.Match[str]) -> str:
    """The run as it is when it has an address in the house, or none; what looks like one is taken for one."""
    run, text = found[0], found.string
    if run.count(":") < 2:
        return run
    core = run
    if text[max(found.start() - 1, 0) : found.start()].isalnum():  # the end of a word: no group
        core = core[core.index(":") :]
    if text[found.end() : found.end() + 1].isalnum():
        core = core[: core.rindex(":") + 1]
    core = _SURROUNDING.sub("", core.rstrip("."))
    for each in (core, core.rpartition(":")[0]):  # with a port, perhaps
        try:
            address = IPv6Address(each)
        except ValueError:
            continue
        return _shortened(run, address.ipv4_mapped or address)
    groups = [group for group in core.split(":") if group and "." not in group]
    if len(groups) > 2 and ("::" in core or not all(map(str.isdecimal, groups))):
        return _PUBLIC.format(6)
    return run


def _shortened(text: str, address: IPv4Address | IPv6Address) -> str:
    """The text of an address in the house as it is; of one elsewhere the kind alone."""
    return _PUBLIC.format(address.version) if address.is_global else text
