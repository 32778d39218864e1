"""Says what a JSGF grammar allows, at random: enough of the format for ours, weights aside."""

import random
import re

_TOKEN = re.compile(r"/[\d.]+/|<\w+>|[\w']+|[()\[\]|]")
_RULE = re.compile(r"(?:public )?<(\w+)> = (.*?);", re.DOTALL)


class Sentences:
    """Random sentences of a grammar, beginning with its rule `top`."""

    def __init__(self, grammar: str, seed: int = 1) -> None:
        self.rules = {name: _TOKEN.findall(body) for name, body in _RULE.findall(grammar)}
        self._chance = random.Random(seed)

    def say(self, rule: str = "top") -> str:
        """One sentence."""
        tokens = self.rules[rule]
        words, end = self._alternatives(tokens, 0)
        assert end == len(tokens), f"the rest of <{rule}> is not understood: {tokens[end:]}"
        return " ".join(words)

    @property
    def words(self) -> set[str]:
        """Every word there is."""
        return {token for tokens in self.rules.values() for token in tokens if token[0].isalpha()}

    def _alternatives(self, tokens: list[str], at: int) -> tuple[list[str], int]:
        choices: list[list[str]] = [[]]
        while at < len(tokens) and tokens[at] not in ")]":
            token = tokens[at]
            at += 1
            if token == "|":
                choices.append([])
            elif token in "([":
                words, at = self._alternatives(tokens, at)
                at += 1
                if token == "(" or self._chance.random() < 0.5:
                    choices[-1] += words
            elif token.startswith("<"):
                choices[-1] += self.say(token[1:-1]).split()
            elif not token.startswith("/"):
                choices[-1].append(token)
        return self._chance.choice(choices), at
