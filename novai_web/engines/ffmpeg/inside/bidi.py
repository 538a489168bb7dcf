"""Which way text runs: the Unicode bidirectional algorithm (UAX #9) for one paragraph without explicit controls.

Hooks carry no embeddings, overrides or isolates (they are stripped as invisible), so rules X1–X8 fall away and a
paragraph is a single run sequence. What is left, W1 to L2, is small enough to own, and spares the product a system
library that slim machines lack.
"""

import unicodedata
from collections.abc import Sequence
from itertools import groupby

_STRONG = {"L": "L", "R": "R", "AL": "R", "EN": "R", "AN": "R"}  # numbers count as R between neutrals (N0–N2)
_NEUTRAL = ("B", "S", "WS", "ON", "BN")
_OPENING = {
    "(": ")",
    "[": "]",
    "{": "}",
    "「": "」",
    "『": "』",
    "【": "】",
    "〈": "〉",
    "《": "》",
    "（": "）",
    "⟨": "⟩",
}
_CLOSING = {close: open_ for open_, close in _OPENING.items()}


def base_level(text: str) -> int:
    """P2 and P3: 1 where the first strong character runs right to left."""
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind in ("L", "R", "AL"):
            return int(kind != "L")
    return 0


def levels(text: str, base: int) -> list[int]:
    """One level for each character: even runs left to right, odd right to left."""
    kinds = _weak([unicodedata.bidirectional(char) or "L" for char in text], "R" if base else "L")
    kinds = _neutral(text, kinds, "R" if base else "L")
    raised = {0: {"R": 1, "AN": 2, "EN": 2}, 1: {"L": 2, "AN": 2, "EN": 2}}[base]
    return [raised.get(kind, base) for kind in kinds]


def visual_order(run_levels: Sequence[int]) -> list[int]:
    """L2: the order, left to right, in which runs of these levels are seen."""
    order = list(range(len(run_levels)))
    odd = [level for level in run_levels if level % 2]
    for level in range(max(run_levels, default=0), min(odd, default=1) - 1, -1):
        turned: list[int] = []
        for high, run in groupby(order, key=lambda index: run_levels[index] >= level):
            part = list(run)
            turned += part[::-1] if high else part
        order = turned
    return order


def _weak(kinds: list[str], base: str) -> list[str]:
    kinds = _marks_and_arabic_numbers(kinds, base)
    kinds = _separators(kinds)
    return _latin_numbers(kinds, base)


def _marks_and_arabic_numbers(kinds: list[str], base: str) -> list[str]:
    """W1 to W3."""
    done: list[str] = []
    strong = base
    for kind in kinds:
        if kind == "NSM":
            kind = done[-1] if done else base
        elif kind in ("L", "R", "AL"):
            strong = kind
        elif kind == "EN" and strong == "AL":
            kind = "AN"
        done.append(kind)
    return ["R" if kind == "AL" else kind for kind in done]


def _separators(kinds: list[str]) -> list[str]:
    """W4 to W6."""
    for at in range(1, len(kinds) - 1):
        before, kind, after = kinds[at - 1 : at + 2]
        if before == after and ((kind == "CS" and before in ("EN", "AN")) or (kind == "ES" and before == "EN")):
            kinds[at] = before
    at = 0
    for kind, run in groupby(list(kinds)):
        length = len(list(run))
        if kind == "ET":
            beside = {kinds[at - 1] if at else "", kinds[at + length] if at + length < len(kinds) else ""}
            kinds[at : at + length] = ["EN" if "EN" in beside else "ON"] * length
        at += length
    return ["ON" if kind in ("ES", "CS") else kind for kind in kinds]


def _latin_numbers(kinds: list[str], base: str) -> list[str]:
    """W7."""
    strong = base
    for at, kind in enumerate(kinds):
        if kind in ("L", "R"):
            strong = kind
        elif kind == "EN" and strong == "L":
            kinds[at] = "L"
    return kinds


def _neutral(text: str, kinds: list[str], base: str) -> list[str]:
    """N0 to N2."""
    for start, end in _bracket_pairs(text, kinds):
        within = {_STRONG[kind] for kind in kinds[start + 1 : end] if kind in _STRONG}
        if within:
            before = next((_STRONG[kind] for kind in reversed(kinds[:start]) if kind in _STRONG), base)
            direction = base if base in within else before
            for bracket in (start, end):
                kinds[bracket] = direction
                for mark in range(bracket + 1, len(text)):  # marks on a bracket go with it
                    if unicodedata.bidirectional(text[mark]) != "NSM":
                        break
                    kinds[mark] = direction
    at = 0
    for neutral, run in groupby(list(kinds), key=lambda kind: kind in _NEUTRAL):
        length = len(list(run))
        if neutral:
            before = _STRONG[kinds[at - 1]] if at else base
            after = _STRONG[kinds[at + length]] if at + length < len(kinds) else base
            kinds[at : at + length] = [before if before == after else base] * length
        at += length
    return kinds


def _bracket_pairs(text: str, kinds: list[str]) -> list[tuple[int, int]]:
    """BD16, for the brackets that people type."""
    waiting: list[tuple[str, int]] = []
    pairs: list[tuple[int, int]] = []
    for at, char in enumerate(text):
        if kinds[at] != "ON":
            continue
        if char in _OPENING:
            waiting.append((_OPENING[char], at))
        elif char in _CLOSING:
            for depth in range(len(waiting) - 1, -1, -1):
                if waiting[depth][0] == char:
                    pairs.append((waiting[depth][1], at))
                    del waiting[depth:]
                    break
    return sorted(pairs)
