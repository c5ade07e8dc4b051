# SPDX-License-Identifier: GPL-2.0-or-later
"""What was typed: options, or NAME=value of make, which errors then name as it was typed."""

from collections.abc import Callable, Iterable

from .fault import Fault

FLAGS = ("DESTRUCTIVE", "DISK_WRITE", "ICOUNT", "ALL")
PLACES = ("CMD", "RUN", "A", "B", "SUITE")  # arguments of a verb that have no option
at_make = False


def options(words: list[str]) -> list[str]:
    """`make VERB NAME=value ...` as `VERB --name=value ...`; all else as it is."""
    global at_make
    at_make = words[:1] == ["make"]
    if not at_make:
        return words
    pairs = [word.partition("=")[::2] for word in words[2:]]
    places = [value for name, value in pairs if name in PLACES]
    return [*words[1:2], *(option for name, value in pairs if name not in PLACES for option in one(name, value)),
            *(["--", *places] if places else [])]


def one(name: str, value: str) -> list[str]:
    option = "--" + name.lower().replace("_", "-")
    if name not in FLAGS:
        return [f"{option}={value}"]
    if value not in ("0", "1"):
        raise Fault(f"{name}={value} is neither 0 nor 1")
    return [option] if value == "1" else []


def name(option: str) -> str:
    """An option as it was typed."""
    return option.upper().replace("-", "_") + "=" if at_make else f"--{option}"


def help(program: str) -> str:
    return "make help" if at_make else f"{program} --help"


def said(option: str, value: str) -> str:
    return name(option) + ("" if at_make else " ") + value


def one_of(option: str, known: Iterable[str]) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in known:
            raise Fault(f"{said(option, value)} is none of {' '.join(known)}")
        return value
    return check


def some_of(option: str, known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Words, each once."""
    def check(value: str) -> tuple[str, ...]:
        if unknown := [word for word in dict.fromkeys(value.split()) if word not in known]:
            raise Fault(f"{said(option, value)}: {' '.join(unknown)} is none of {' '.join(known)}")
        return tuple(dict.fromkeys(value.split()))
    return check


def sentence(option: str) -> Callable[[str], str]:
    """More than a word, on one line."""
    def check(value: str) -> str:
        if len(value.split()) < 2 or "\n" in value:
            raise Fault(f"{said(option, value)} is no reason: say in some words, on one line, what has changed")
        return value
    return check


def number(option: str, least: float, whole: bool = True) -> Callable[[str], float]:
    def check(value: str) -> float:
        try:
            found = int(value) if whole else float(value)
        except ValueError:
            found = least - 1
        if not least <= found < 1e9:
            raise Fault(f"{said(option, value)} is no {'whole ' if whole else ''}number from {least:g} up")
        return found
    return check
