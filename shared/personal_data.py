"""Personal data out of a text, each kind into a token of its own: <email>, <card>, <order>, …

The rules run in a fixed order, and each sees only what the ones before it left:
1. URL, then e-mail: both hold digits and dots that later rules would take apart.
2. IBAN (length of its country, mod 97), card (Luhn), identity number (check digit or form): the
   longest numbers, proven where they can be, so that a looser rule cannot bite off a part.
3. Order and account numbers: only after a cue word (order, ref, 订单号, …), because their bare form
   is that of any number. Before dates and phones, since many of them begin with a date.
4. Dates, then amounts of money: digits with a meaning of their own that is not a phone's.
5. Phone last: the loosest pattern.
The rules run until nothing changes, so that masking a masked text changes nothing. Borders are
those of ASCII letters and digits: for a word border, 了 and 299 in 花了299元 would be one word.
"""

import re
from collections.abc import Callable

# Length of an IBAN by country. Source: SWIFT IBAN Registry (ISO 13616), release 99.
_IBAN_LENGTH = {
    entry[:2]: int(entry[2:])
    for entry in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 "
        "DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 "
        "IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 "
        "MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 "
        "SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
    ).split()
}

_URL = re.compile(
    r"(?i)(?<![a-z0-9])(?:https?://|ftp://|www\.)[^\s<>\"'，。；！？、）】》]*[^\s<>\"'，。；！？、）】》.,;:!?)\]]"
)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,29}")
_CARD = re.compile(r"(?<![\d.,+])[2-6](?:[ -]?[0-9]){12,18}(?!\d)")
_HIDDEN_CARD = re.compile(r"(?<![A-Za-z0-9_*•])(?:[*•xX]{4}[ -]?){1,4}[0-9]{4}(?!\d)")
# A Chinese resident identity number (its last sign checks the others), a US social security number.
_CHINESE_ID = re.compile(r"(?<![A-Za-z0-9])[1-9][0-9]{16}[0-9Xx](?![A-Za-z0-9])")
_SOCIAL_SECURITY = re.compile(
    r"(?<![\d-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\d-])"
)

_GAP = r"(?:[\s:：#№=()（]|\b(?:numbers?|num|no|nr|id|code|is|was)\b\.?|号码|编号|号|是|为){0,8}?"
_VALUE = r"(?P<value>(?=[A-Za-z/_-]{0,39}[0-9])[A-Za-z0-9][A-Za-z0-9/_-]{2,39})(?![A-Za-z0-9])"
_ORDER = re.compile(
    r"(?i)(?P<cue>(?<![a-z])(?:orders?|tracking|track|reference|ref|invoice|booking|ticket|case|"
    r"confirmation|purchase|shipment|parcel|transaction|delivery)|订单|运单|快递单|物流单|单号|流水|"
    r"交易|发票|工单)(?P<gap>" + _GAP + ")" + _VALUE
)
_ACCOUNT = re.compile(
    r"(?i)(?P<cue>(?<![a-z])(?:account|acct|customer|member|membership|policy|contract|sort)|账号|账户|"
    r"帐号|帐户|客户|会员|合同|保单)(?P<gap>" + _GAP + ")" + _VALUE
)

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_DAY = r"(?:0?[1-9]|[12][0-9]|3[01])"
_MONTH_NUMBER = r"(?:0?[1-9]|1[0-2])"
_YEAR = r"(?:19|20)[0-9]{2}"
_DATE = re.compile(
    r"(?i)(?<![A-Za-z0-9_./-])(?:"
    rf"{_YEAR}([-/.]){_MONTH_NUMBER}\1{_DAY}(?:T[0-9:.]+Z?)?"
    rf"|{_DAY}([-/.]){_MONTH_NUMBER}\2(?:{_YEAR}|[0-9]{{2}})"
    rf"|{_MONTH_NUMBER}([-/]){_DAY}\3(?:{_YEAR}|[0-9]{{2}})"
    rf"|{_DAY}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}\.?(?:,?\s+{_YEAR})?"
    rf"|(?!(?-i:may)\s){_MONTH}\.?\s+{_DAY}(?:st|nd|rd|th)?(?:,?\s+{_YEAR})?"
    rf"|may\s+{_DAY}(?:st|nd|rd|th|,?\s+{_YEAR})"
    r")(?![A-Za-z0-9_/-])(?!\.\d)"
)
_CHINESE_DATE = re.compile(
    rf"(?:(?<!\d){_YEAR}\s*年\s*)?(?<!\d){_MONTH_NUMBER}\s*月\s*{_DAY}\s*[日号]"
)

_NUMBER = r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:[.,][0-9]{1,2})?"
_SCALE = r"(?:\s?(?:k|m|mn|bn|million|billion|thousand)(?![a-z]))?"
_CODE = r"(?:usd|eur|gbp|cny|rmb|jpy|chf|cad|aud|hkd|inr)"
_AMOUNT = re.compile(
    r"(?i)"
    rf"(?:(?:us|hk|c|a|nz)?[$£€¥￥₹]\s?|(?<![a-z]){_CODE}\s?)(?:{_NUMBER}){_SCALE}(?!\d)"
    rf"|(?<![A-Za-z0-9_.,])(?:{_NUMBER}){_SCALE}\s?(?:[$£€¥￥₹]|(?:{_CODE}|dollars?|euros?|pounds?|bucks?|quid|"
    r"cents?|pence|yuan|yen)(?![a-z]))"
    rf"|(?<![A-Za-z0-9_.,])(?:{_NUMBER})\s?[万亿千百]?\s?(?:元|块钱|块|美元|欧元|英镑|港币|日元|人民币)"
)

_PHONE = re.compile(
    r"(?<![A-Za-z0-9_.,+#/-])(?:"
    r"(?:\+|00)[1-9](?:[ ().-]{0,2}[0-9]){6,14}"  # international
    r"|(?:86[ -]?)?1[3-9][0-9](?:[ -]?[0-9]{4}){2}"  # Chinese mobile
    r"|0[0-9]{2,3}[ -][0-9]{7,8}"  # Chinese landline
    r"|\(?[2-9][0-9]{2}\)?[ .-]?[2-9][0-9]{2}[ .-]?[0-9]{4}"  # North America
    r"|1[ .-]\(?[2-9][0-9]{2}\)?[ .-][0-9]{3}[ .-][0-9]{4}"
    r"|\(?0[1-9][0-9]{0,4}\)?(?:[ ./-]?[0-9]){6,9}"  # national, with a leading 0
    r")(?![0-9])"
)
_CALLED = re.compile(
    r"(?i)(?P<cue>(?<![a-z])(?:phone|tel|telephone|mobile|cell|call|whatsapp|fax)|电话|手机|座机|热线)"
    r"(?P<gap>(?:[\s:：.]|\b(?:number|no|is|me|us|at|on)\b|号码|号|是|为){0,6}?)"
    r"(?P<value>[0-9](?:[ ().-]?[0-9]){5,14})(?![0-9])"
)


def mask_personal_data(text: str) -> str:
    """The text with <url> <email> <iban> <card> <id> <order> <account> <date> <amount> <phone>.

    Rules for English and Chinese; everything else stays as written. Idempotent.
    """
    while True:
        masked = text
        for rule in _RULES:
            masked = rule(masked)
        if masked == text:
            return text
        text = masked


def _iban(match: re.Match[str]) -> str:
    """The match with its IBAN masked, if its country's length and check digits say it is one."""
    found = match.group()
    length = _IBAN_LENGTH.get(found[:2].upper(), 0)
    signs = 0
    for position, sign in enumerate(found, start=1):
        signs += sign.isalnum()
        if signs == length:
            rest = match.string[match.start() + position :]
            whole = "".join(filter(str.isalnum, found[:position])).upper()
            ends = not (rest[:1].isascii() and rest[:1].isalnum())
            if ends and int("".join(str(int(c, 36)) for c in whole[4:] + whole[:4])) % 97 == 1:
                return "<iban>" + found[position:]
            break
    return found


def _card(match: re.Match[str]) -> str:
    """A card if the check digit is right (Luhn, ISO/IEC 7812-1 annex B)."""
    digits = [int(sign) for sign in match.group() if sign.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return "<card>" if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else match.group()


def _chinese_id(match: re.Match[str]) -> str:
    """An identity number if its last sign is right (ISO 7064 MOD 11-2, GB 11643)."""
    total = sum(int(sign) * pow(2, 17 - i, 11) for i, sign in enumerate(match.group()[:17]))
    return "<id>" if "10X98765432"[total % 11] == match.group()[17].upper() else match.group()


def _numbered(token: str) -> Callable[[re.Match[str]], str]:
    """Mask the value after a cue: four digits or more, three where "number", # or 号 stands."""

    def replace(match: re.Match[str]) -> str:
        cue, gap, value = match.group("cue", "gap", "value")
        digits = sum(sign.isdigit() for sign in value)
        announced = bool(re.search(r"(?i)num|no\b|nr|id|code|[#№号]", gap))
        joined = not gap and cue[-1].isascii()  # "orders1234" is a word, not an order's number
        if digits < (3 if announced else 4) or joined:
            return match.group()
        return f"{cue}{gap}{token}"

    return replace


def _rule(
    pattern: re.Pattern[str], replacement: str | Callable[[re.Match[str]], str]
) -> Callable[[str], str]:
    return lambda text: pattern.sub(replacement, text)


_RULES = (
    _rule(_URL, "<url>"),
    _rule(_EMAIL, "<email>"),
    _rule(_IBAN, _iban),
    _rule(_CARD, _card),
    _rule(_HIDDEN_CARD, "<card>"),
    _rule(_CHINESE_ID, _chinese_id),
    _rule(_SOCIAL_SECURITY, "<id>"),
    _rule(_ORDER, _numbered("<order>")),
    _rule(_ACCOUNT, _numbered("<account>")),
    _rule(_DATE, "<date>"),
    _rule(_CHINESE_DATE, "<date>"),
    _rule(_AMOUNT, "<amount>"),
    _rule(_CALLED, lambda match: f"{match.group('cue')}{match.group('gap')}<phone>"),
    _rule(_PHONE, "<phone>"),
)
