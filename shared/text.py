"""Text as it comes in: one normal form, personal data masked, its language.

Near duplicates are in near_duplicates.py and offered here too.
"""

import re
import unicodedata
from collections import Counter

from shared.near_duplicates import near_duplicate_groups
from shared.personal_data import mask_personal_data

__all__ = ["detect_language", "mask_personal_data", "near_duplicate_groups", "normalise"]

_WHITE = re.compile(r"\s+")
# Control, format and private characters, lone surrogates. Format characters (Cf) hold zero-width
# spaces, byte-order marks and the marks that turn the reading direction, none of which means
# anything to an encoder; \t and \n are Cc too and become spaces first.
_DROPPED = {"Cc", "Cf", "Cs", "Co", "Cn"}
_PLAIN = re.compile(r"[ -~]*")


def normalise(text: str) -> str:
    """NFKC (full width to half, ligatures apart), control characters out, white space single.

    Case stays: encoders that do not want it fold it themselves. Idempotent.
    """
    if not _PLAIN.fullmatch(text):
        spaced = _WHITE.sub(" ", text)
        kept = "".join(c for c in spaced if unicodedata.category(c) not in _DROPPED)
        text = unicodedata.normalize("NFKC", kept)
    return _WHITE.sub(" ", text).strip()


# Scripts that tell the language by themselves; the first of them that is common enough wins, so
# Japanese, which also writes Han, stands before Chinese.
_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]"), 0.1),
    ("ko", re.compile("[\uac00-\ud7a3\u1100-\u11ff]"), 0.3),
    ("zh", re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"), 0.2),
    ("ru", re.compile("[\u0400-\u04ff]"), 0.5),
    ("el", re.compile("[\u0370-\u03ff]"), 0.5),
    ("he", re.compile("[\u0590-\u05ff]"), 0.5),
    ("ar", re.compile("[\u0600-\u06ff]"), 0.5),
    ("hi", re.compile("[\u0900-\u097f]"), 0.5),
    ("th", re.compile("[\u0e00-\u0e7f]"), 0.5),
)
_LATIN_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_STOPWORDS = {
    "en": "the a an is are was were be been i you he she we they it my your his her our their this "
    "that these those to of in on at for with from by and or but not no do does did have has had "
    "can could will would should what when where which who how why there if as about any please "
    "i'm i've it's don't can't won't didn't isn't what's help me",
    "de": "der die das ein eine einen ist sind war ich du er sie wir ihr es mein meine dein nicht "
    "kein keine und oder aber zu von im in auf für mit aus bei dem den des wie was wann wo warum "
    "wer haben habe hat kann können wird werden bitte auch noch nach über",
    "fr": "le la les un une des est sont je tu il elle nous vous ils mon ma mes votre pas ne et ou "
    "mais de du en dans sur pour avec par que qui quoi quand où comment pourquoi ai avez peut "
    "être c'est j'ai s'il au aux ce cette",
    "es": "el la los las un una es son yo tú él ella nosotros mi mis su sus no y o pero de del en "
    "por para con que qué cuando cuándo donde dónde cómo como quién he ha han puedo puede está "
    "están se lo al este esta",
    "it": "il lo la gli le un una è sono io tu lui lei noi mio mia non e o ma di del della in su "
    "per con che chi cosa quando dove come perché ho ha posso può questo questa al alla mi si",
    "pt": "o a os as um uma é são eu tu ele ela nós meu minha não e ou mas de do da em no na por "
    "para com que quem quando onde como porque tenho tem posso pode está este esta ao você",
    "nl": "de het een is zijn was ik jij hij zij wij mijn niet geen en of maar van in op voor met "
    "uit bij wat wanneer waar hoe waarom wie heb heeft kan kunnen dit dat deze ook naar er",
}
_STOPWORDS_OF = {language: frozenset(words.split()) for language, words in _STOPWORDS.items()}


def detect_language(text: str) -> str:
    """ISO 639-1 code by script and function words; "und" when nothing speaks for any language.

    A cheap guess for routing a message, not a classifier: Latin text is told apart by its function
    words only (en de fr es it pt nl), ties go to the first of these.
    """
    letters = sum(character.isalpha() for character in text)
    if not letters:
        return "und"
    for language, script, share in _SCRIPTS:
        if len(script.findall(text)) >= share * letters:
            return language
    words = [word.replace("’", "'") for word in _LATIN_WORD.findall(text.lower())]
    hits = Counter({code: sum(w in known for w in words) for code, known in _STOPWORDS_OF.items()})
    language, most = hits.most_common(1)[0]
    return language if most else "und"
