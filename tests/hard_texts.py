"""Texts that tokenizers disagree on, each with a name, and a vocabulary in which they show it."""

import unicodedata

HARD_TEXTS = (
    ("empty", ""),
    ("one blank", " "),
    ("blanks only", " \t\n\r\n  "),
    ("plain", "Oil prices fell again."),
    ("capitals", "THE TEAM Won A gOaL"),
    ("contraction", "It's the team's; they'll don't"),
    ("numbers", "3.14 1,000,000 50% $5.00 -7 1e-5"),
    ("address", "Mail a.b+c@d-e.org or see http://x.y/z?q=1&r=2#s"),
    ("markup", "<b>Oil</b> &lt;p&gt; &amp; &#39;"),
    ("all ascii punctuation", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    ("runs of punctuation", "what?!?! ... --- ### ***"),
    ("backslashes", "a\\b C:\\temp\\new"),
    ("accents composed", "Café déjà vu, naïve façade, Ångström"),
    ("accents combining", "Cafe\u0301 de\u0301ja\u0300 A\u030angstro\u0308m"),
    ("umlauts and sharp s", "Größe Straße STRASSE ẞ Übermaß"),
    ("many marks on one letter", "a\u0301\u0302\u0303\u0304\u0305\u0306\u0307 b"),
    ("mark first", "\u0301a b"),
    ("marks alone", "\u0301 \u0302"),
    ("enclosing mark", "a\u20dd b\u20e3 1\ufe0f\u20e3"),
    ("turkish", "İstanbul ISPARTA ılık DİYARBAKIR"),
    ("vietnamese", "Việt Nam: Đà Nẵng, phở, Hồ Chí Minh"),
    ("polish and stroke letters", "Łódź, Øresund, Đakovo, Ħal"),
    ("romanian commas below", "Ștefan și țară"),
    ("icelandic", "Þórður æðir Ægir"),
    ("catalan dots", "col·lecció ŀl"),
    ("greek with final sigma", "ΟΔΥΣΣΕΥΣ Οδυσσεύς ᾳ ᾼ ΐ"),
    ("greek question mark", "τι;\u037e ano\u0387 teleia"),
    ("spacing greek marks", "a\u037ab \u0384\u0385 \u1fbd"),
    ("cyrillic", "Ёлка, йод, Київ, Їжак, Москва́"),
    ("armenian and georgian", "Երևան և Հայաստան; თბილისი ᲗᲑ"),
    ("hebrew points", "שָׁלוֹם עולם יִשְׂרָאֵל"),
    ("arabic marks", "السَّلامُ عَلَيْكُم، ؟ ـــ"),
    ("arabic presentation forms", "ﷺ ﷲ ﻻ ﺍﻟﺴﻼﻡ"),
    ("arabic number signs", "\u0600\u0661\u0662 \u06dd"),
    ("devanagari", "हिन्दी में क़ानून नमस्ते"),
    ("bengali and tamil", "বাংলা ভাষা தமிழ் மொழி"),
    ("thai and lao", "ภาษาไทย น้ำ ພາສາລາວ ນ້ຳ"),
    ("tibetan and burmese", "བོད་སྐད། မြန်မာဘာသာ"),
    ("ethiopic and cherokee", "አማርኛ፡ ቋንቋ Ꭰꭰ ꮳᎳᎩ"),
    ("chinese", "中文新闻,石油价格下跌。"),
    ("chinese among latin", "IBM收购Red Hat公司"),
    ("rare chinese", "豈更車 \U0002f804 \U00020000\U0002a6d6 \u9fff\u3400 \U00030000"),
    ("japanese", "日本語のテキスト、カタカナとひらがな。"),
    ("voiced kana", "がぎぐ か\u3099き\u309a パピプ ゛゜ ヷ"),
    ("half-width kana", "ｶﾞｷﾞｸﾞ ﾊﾟﾋﾟ ｡｢｣"),
    ("iteration marks", "々 〆 〇 ゝゞ ヽヾ"),
    ("hangul syllables", "한국어 뉴스 각 힣"),
    ("hangul letters", "\u1112\u1161\u11ab\u1100\u116e\u11a8 ㅎㅏㄴ ﾡﾢ \u115f\u1160"),
    ("bopomofo and yi", "ㄅㄆㄇ ꀀꀁ"),
    ("emoji", "good 😀😃👍 bad 😡!"),
    ("emoji with skin and joiner", "👩🏽‍🚀 👨‍👩‍👧‍👦 ❤️ ☎︎"),
    ("flags and keycaps", "🇩🇪🇫🇷 #️⃣ 🏴\U000e0067\U000e0062\U000e007f"),
    ("full-width", "ＦＵＬＬ ｗｉｄｔｈ １２３ ！？（）　ｅｎｄ"),
    ("ligatures", "ﬁnance ﬂow oﬀer Ĳssel ǆ œuvre ﬓ"),
    ("fractions and powers", "½ ¼ ⅓ x² 10⁻³ H₂O ªº"),
    ("letters in circles and brackets", "①②⑳ ⒜⒝ ⒈⒉ Ⓐ 🄰 ㊙ ㈱ ㍿ ㏂"),
    ("mathematical letters", "𝐁𝐨𝐥𝐝 𝒮𝒸𝓇𝒾𝓅𝓉 𝟘𝟙 ℵ ℏ ℃ Å"),
    ("roman numerals and units", "Ⅷ ⅻ ㎏ ㏒ ㎡ ℡ № ™ © ®"),
    ("typographic quotes and dashes", "“Oil” ‘fell’ – again — «now» … ‚x‛ ‐ ‑ −"),
    ("currency and symbols", "€5 £3 ¥9 ₿1 § ¶ † • ° ± × ÷ ← ∞ ≠ ■"),
    ("no-break and narrow blanks", "a\u00a0b\u202fc\u2009d\u2003e\u3000f\u1680g\u205fh"),
    ("line and paragraph separators", "a\u2028b\u2029c\x85d\x0be\x0cf"),
    ("zero width", "a\u200bb\u200cc\u200dd\u2060e\ufefff"),
    ("soft hyphen", "co\u00adoperate"),
    ("byte order mark first", "\ufeffoil"),
    ("direction marks", "\u202eabc\u202c \u200fא\u200e \u2066x\u2069"),
    ("control characters", "a\x00b\x01c\x07d\x1be\x7ff\x80g\x9fh\x1ci"),
    ("replacement character", "a\ufffdb \ufffc"),
    ("variation selectors", "a\ufe00b\ufe0f \U000e0100c \u180bx\u180e"),
    ("private use and noncharacters", "a\ue000b \uf8ff \ufdd0 \uffff \U0010ffff \U000f0000"),
    ("unassigned", "a\u0378b \U000e0fff \u2065c"),
    ("musical and ancient", "𝄞 𝅘𝅥𝅮 𓀀 𒀀 𐍈 𐐀𐐨 𞤀"),
    ("interlinear and shorthand", "\ufff9a\ufffab\ufffb \U0001bca0x"),
    ("modifier letters", "ʰʲʷ ˈˌ ˘˙˚˛˜˝ ¨ ¯ ´ ¸ ͺ ‾ ﹉"),
    ("special tokens written out", "[CLS] oil [SEP] fell [MASK] [PAD] [UNK]"),
    ("special tokens in lower case", "[sep] [cls]"),
    ("continuation written out", "##s oil##s # #s ##"),
    ("word of 100 bytes", "a" * 100),
    ("word of 101 bytes", "a" * 101),
    ("word of 50 accents", "é" * 50),
    ("word of 51 accents", "é" * 51),
    ("word of 26 emoji", "😀" * 26),
    ("word of 101 bytes and a full stop", "a" * 101 + ". oil"),
    ("word of 60 letters and 80 marks", "a" * 60 + "\u0301" * 80),
    ("word of 40 hangul syllables", "각" * 40),
    ("10,000 characters without a blank", "oil" * 3333 + "!"),
    ("10,000 characters in words", "oil prices fell " * 625),
    ("10,000 characters of chinese", "石油" * 5000),
    ("3,000 commas", "," * 3000),
    ("mixed scripts in a word", "oil石油нефтьنفط원유"),
)


def character_vocabulary():
    """Special tokens, a few words, and every character of the hard texts in every Unicode form.

    Few words are unknown in it, so that two tokenizers which part or change characters in another
    way give other tokens.
    """
    characters = set()
    for _, text in HARD_TEXTS:
        for written in (text, text.lower(), text.casefold()):
            for form in ("NFC", "NFD", "NFKC", "NFKD"):
                characters |= set(unicodedata.normalize(form, written))
    characters = sorted(
        c for c in characters if not c.isspace() and unicodedata.category(c) != "Cc"
    )
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = ["oil", "prices", "fell", "again", "team", "##il", "##am"]
    return [*special, *words, *characters, *(f"##{character}" for character in characters)]
