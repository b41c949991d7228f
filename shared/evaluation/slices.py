"""Parts of the rows on which a model may be weak: length, tokens, language, script, new words."""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.inference.lexical import Vocabulary, fold, word_grams
from shared.text import detect_language

Parts = Mapping[str, NDArray[np.bool_]]
# A slice of fewer rows says more about its rows than about the model.
SMALLEST_SLICE = 20
FEW_TOKENS = 4
MANY_TOKENS = 20
# Scripts whose characters are words or syllables, with no blank between words.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af]")
_WORD = re.compile(r"[^\W_]+")
# First words of the Unicode names of letters -> what people call the script.
_SCRIPTS = {"CJK": "Han", "HIRAGANA": "Kana", "KATAKANA": "Kana"}


def words_of(vocabulary: Vocabulary) -> frozenset[str]:
    """The words that training rows had, without the pairs of words."""
    return frozenset(gram for gram in vocabulary.words if " " not in gram)


def text_parts(texts: Sequence[str], known_words: Collection[str] | None = None) -> Parts:
    """Name -> (n,) membership, for every part that holds some of the rows and not all.

    Length: thirds of these rows by characters; a third may be missing where many rows are equally
    long. known_words: folded words of the training rows, as `lexical.word_grams` cuts them; None
    where they are not known, and then there is no part by new words.
    """
    tokens = np.array([count_tokens(text) for text in texts])
    languages = np.array([detect_language(text) for text in texts])
    scripts = np.array([script_of(text) for text in texts])
    parts: dict[str, NDArray[np.bool_]] = {
        **_thirds(np.array([len(text) for text in texts])),
        f"up to {FEW_TOKENS} words": tokens <= FEW_TOKENS,
        f"{FEW_TOKENS + 1} to {MANY_TOKENS - 1} words": (tokens > FEW_TOKENS)
        & (tokens < MANY_TOKENS),
        f"{MANY_TOKENS} words or more": tokens >= MANY_TOKENS,
        **{f"language {code}": languages == code for code in sorted(set(languages) - {"und"})},
        **{name: scripts == name for name in sorted(set(scripts) - {""})},
    }
    if known_words is not None:
        unknown = np.array([count_unknown(text, known_words) for text in texts])
        parts |= {
            "every word known from training": unknown == 0,
            "one word not seen in training": unknown == 1,
            "two or more words not seen in training": unknown >= 2,
        }
    return {name: rows for name, rows in parts.items() if rows.any() and not rows.all()}


def count_tokens(text: str) -> int:
    """Words of scripts with blanks between words, and single characters of the others.

    >>> count_tokens("where is my 退款?")
    5
    """
    single = len(_UNSPACED.findall(text))
    return single + len(_WORD.findall(_UNSPACED.sub(" ", text)))


def count_unknown(text: str, known_words: Collection[str]) -> int:
    """Different words of a text that training never saw; numbers do not count.

    >>> count_unknown("cancel my my zzyzx 2024", {"cancel", "my"})
    1
    """
    words = {gram for gram in word_grams(fold(text)) if " " not in gram}
    return sum(word not in known_words for word in words if not word.isdecimal())


def script_of(text: str) -> str:
    """ "script Latin", "script Han", …, "mixed scripts" from two with a tenth of the letters each
    on, "" without letters.

    Kana beside Han is Japanese and no mixture.
    """
    count: dict[str, int] = {}
    for character in text:
        if character.isalpha():
            first = unicodedata.name(character, "OTHER").split()[0].split("-")[0]
            script = _SCRIPTS.get(first, first.capitalize())
            count[script] = count.get(script, 0) + 1
    if "Kana" in count and "Han" in count:
        count["Kana"] += count.pop("Han")
    total = sum(count.values())
    common = [script for script, n in count.items() if n >= total / 10]
    if not common:
        return ""
    return "mixed scripts" if len(common) > 1 else f"script {common[0]}"


def _thirds(length: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    if not length.size:
        return {}
    low, high = (int(cut) for cut in np.quantile(length, [1 / 3, 2 / 3], method="lower"))
    return {
        f"shortest third (up to {low} characters)": length <= low,
        f"middle third ({low + 1} to {high} characters)": (length > low) & (length <= high),
        f"longest third (over {high} characters)": length > high,
    }
