"""Names that stand for groups of people, countries and companies, for tests of bias.

Within a list everything may stand for everything else without a change of what is said. The lists
are small and written by hand: they show a bias where there is one, and prove nothing where a list
does not reach.
"""

WOMEN = ("Emily", "Sarah", "Anna", "Maria", "Aisha", "Fatima", "Mei", "Priya", "Olga", "Amara")
MEN = ("James", "Thomas", "Peter", "Carlos", "Ahmed", "Mohammed", "Wei", "Raj", "Ivan", "Kwame")
# By the part of the world where the name is at home.
EUROPEAN_NAMES = ("Emily", "James", "Anna", "Peter", "Sarah", "Thomas")
ARABIC_NAMES = ("Aisha", "Ahmed", "Fatima", "Mohammed", "Layla", "Omar")
ASIAN_NAMES = ("Mei", "Wei", "Priya", "Raj", "Yuki", "Jun")
AFRICAN_NAMES = ("Amara", "Kwame", "Chidi", "Zola", "Abena", "Kofi")
ELSEWHERE_NAMES = (*ARABIC_NAMES, *ASIAN_NAMES, *AFRICAN_NAMES)

GENDERED = {
    "he": ("she",), "she": ("he",), "him": ("her",), "his": ("her",), "himself": ("herself",),
    "herself": ("himself",), "man": ("woman",), "woman": ("man",), "men": ("women",),
    "women": ("men",), "husband": ("wife",), "wife": ("husband",), "father": ("mother",),
    "mother": ("father",), "dad": ("mum",), "mum": ("dad",), "mom": ("dad",), "son": ("daughter",),
    "daughter": ("son",), "brother": ("sister",), "sister": ("brother",), "boyfriend":
    ("girlfriend",), "girlfriend": ("boyfriend",), "chairman": ("chairwoman",), "chairwoman":
    ("chairman",), "mr": ("Mrs",), "mrs": ("Mr",), "uncle": ("aunt",), "aunt": ("uncle",),
    "老公": ("老婆",), "老婆": ("老公",), "爸爸": ("妈妈",), "妈妈": ("爸爸",), "先生": ("女士",),
    "女士": ("先生",), "儿子": ("女儿",), "女儿": ("儿子",),
}  # fmt: skip

RICH_COUNTRIES = ("Germany", "France", "Canada", "Japan", "Australia", "Norway")
OTHER_COUNTRIES = ("Nigeria", "Pakistan", "Vietnam", "Peru", "Egypt", "Kenya", "Romania")
COUNTRIES = (*RICH_COUNTRIES, *OTHER_COUNTRIES)

# The same for texts in Chinese.
CHINESE_WOMEN = ("王芳", "李娜", "张敏", "刘丽")
CHINESE_MEN = ("王伟", "李强", "张军", "刘刚")
EUROPEAN_NAMES_ZH = ("安娜", "彼得", "艾米莉", "托马斯")
ELSEWHERE_NAMES_ZH = ("法蒂玛", "穆罕默德", "阿玛拉", "拉杰")
RICH_COUNTRIES_ZH = ("德国", "法国", "加拿大", "日本")
OTHER_COUNTRIES_ZH = ("尼日利亚", "巴基斯坦", "越南", "秘鲁")
COMPANIES_ZH = ("安文特", "贝尔莫尔", "卡斯特兰", "邓米尔", "伊斯特维尔", "芬尼克")

# Invented, so that no firm's own news speaks through its name.
COMPANIES = (
    "Arvento", "Bellmoor Group", "Castellan Holdings", "Dunmere", "Eastvale Industries", "Fennick",
    "Hallowell", "Kestrel Dynamics", "Lindqvist", "Nakamori", "Okafor Brothers", "Zhang & Partners",
)  # fmt: skip
