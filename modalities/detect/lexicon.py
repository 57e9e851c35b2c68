"""Word lists of the English chunker: closed classes, common verbs and adjectives, and the tag of a single word."""

from __future__ import annotations

from typing import Literal

Tag = Literal["det", "adverb", "break", "verb", "base", "participle", "adjective", "noun"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ARTICLES = _words("""a an the this that these those my your his her its our their whose some any every each another no
all both either neither many several few more most other which what such half""")
NUMBERS = _words("""one two three four five six seven eight nine ten eleven twelve dozen twenty thirty forty fifty
hundred first second third""")
PREPOSITIONS = _words("""of in on at by with without from to into onto upon over under above below beneath underneath
beside besides between among amongst behind beyond near around about across against along alongside amid through
throughout toward towards inside outside within during before after since until till for off out up down atop per via
like unlike than as except despite next past""")
CONJUNCTIONS = _words(
    "and or but nor while because if then so though although when where whereas unless whether & plus"
)
PRONOUNS = _words("""i you he she it we they me him us them who whom there here that this these those mine yours hers
ours theirs myself yourself himself herself itself ourselves themselves something someone somebody anything anyone
anybody nothing nobody everything everyone everybody how why whatever whoever each all both one others another lots""")
AUXILIARIES = _words("""is are was were be been being am do does did have has had having isn't aren't wasn't weren't
don't doesn't didn't hasn't haven't hadn't will would could should shall might may must won't wouldn't couldn't
shouldn't can't cannot i'm you're we're they're it's he's she's that's there's here's what's who's where's let's i've
we've they've you've""")
SUBJECTS = _words("i you he she it we they who that which there can will would could should to")  # a verb follows
ADVERBS = _words("""very quite too also not never always often just almost rather really still already again away
together together back forward soon now today outdoors indoors outdoor indoor ahead aside nearby maybe perhaps please
ago else even ever yet""")
NO_ADVERBS = _words("""family fly belly jelly lily butterfly dragonfly ally bully bodily curly friendly lovely ugly
silly early woolly hilly elderly lonely lively holly trolley assembly supply reply anomaly doily daily""")
BASES = _words("""accept add allow appear ask attach attack bake bark become begin bite blow bring browse brush build
buy call carry catch chase chew clean climb come compete contain cook cover cross cut dance dig display drink drive drop
eat enjoy enter examine face fall feature feed fight fill find fix float fly follow gather get give go graze grab grow
guide hang help hit hold hug include jump keep kick kiss kneel know lay lead lean leap learn let lick lie lift listen
live look love make meet move need observe open overlook paint park pass pet pick play point pose pour prepare press
pull push put race raise reach read relax remain rest ride roll run sail say see seem sell serve shake show sing sip sit
skate ski sleep smell smile sniff stand stare start stay stop surround swim swing take talk throw touch travel try turn
use wait walk want wash watch wave wear work write""")
PAST = _words("""ate became began bit blew brought built bought came caught chose dug drank drove fed fell fought found
flew gave got went grew hung held hid kept knew knelt laid led leapt lay left let lit made met ran rode said sang sat
saw sold shook shone slept spoke stood stole stuck swam swung took taught thought threw woke wore won wrote taken
given eaten worn written ridden driven thrown shown drawn done gone""")
ADJECTIVES = _words("""red green blue yellow black white brown gray grey pink purple violet beige golden silver
turquoise teal maroon colorful colourful dark bright pale light big small large little tiny huge giant tall short long
high low
wide narrow thick thin fat deep shallow heavy old new young modern ancient fresh clean dirty wet dry hot cold warm cool
soft hard round square flat sharp smooth rough open closed empty full loose tight wooden metallic woolen woollen broken
frozen fallen hidden ripe raw rusty shiny fluffy furry fuzzy hairy sunny cloudy rainy snowy foggy sandy muddy dusty
leafy grassy rocky tasty spicy sleepy busy happy sad angry hungry thirsty cute pretty beautiful nice good bad great best
fine rich poor quick slow fast quiet loud calm wild tame male female same different only own whole left right front rear
main upper lower middle top-left asleep awake alone alive dead sick healthy pregnant naked bare bald blond blonde
brunette plain plastic-wrapped striped spotted ready real fake electric electronic several many sweet sour fancy tired
barefoot lovely ugly silly early elderly friendly lonely lively curly woolly hilly close far larger largest smaller
smallest bigger biggest taller tallest shorter shortest longer longest older oldest younger youngest nearest closest
farthest furthest leftmost rightmost better brightest darkest highest lowest""")
PREDICATES = _words("orange gold cream tan")  # adjectives behind a copula, nouns elsewhere
NOUNS_TOO = _words("light square native relative")  # adjectives that are nouns where no noun follows
NOUNS_IN_ING = _words("""building ceiling painting clothing ring king wing string thing evening morning railing awning
wedding earring spring swing sling icing frosting stuffing dressing flooring lighting drawing pudding dumpling duckling
sibling being crossing landing lining opening topping seasoning sling ceiling marking carving covering bedding railing
filling engraving sting bling sterling herring starling clearing meeting parking sing bring""")
NOUNS_IN_ED = _words("bed shed sled seed weed reed red bleed breed feed speed steed bobsled seabed flatbed greed need")
NO_ADJECTIVES = _words("""table cable vegetable fish dish brush olive hive archive dive glass grass variable constable
stable timetable turntable starfish goldfish jellyfish rubbish polish finish parish radish relish varnish garnish dove
drive detective motive native relative executive perspective locomotive""")
SUFFIXES = ("ful", "less", "ous", "ish", "ive", "able", "ible")
PLURALS = _words("""people men women children kids mice geese feet teeth sheep deer fish cattle police persons oxen
policemen firemen fishermen snowmen""")
QUANTITIES = _words("""cup glass mug bowl plate bottle jar can box bag basket bucket pot pan tray carton pack packet
piece slice loaf bunch bouquet pile stack heap row line set pair couple group crowd herd flock team bit lot handful
variety collection kind type sheet roll cluster stick spoonful pitcher vase number pieces slices cups glasses bottles
bowls plates boxes bags piles stacks rows pairs groups bunches""")


def inflected(word: str) -> Literal["base", "third", "past", ""]:
    """Which form of a common verb the word is; "" of none."""
    if word in PAST:
        return "past"
    if word in BASES:
        return "base"
    endings = ("ies", "y"), ("es", ""), ("s", "")
    third = any(word.endswith(end) and word.removesuffix(end) + instead in BASES for end, instead in endings)
    return "third" if third else ""


def is_participle(word: str) -> bool:
    """Whether a word reads as an -ing or -ed form of a verb."""
    ing = word.endswith("ing") and len(word) > 4 and word not in NOUNS_IN_ING
    return ing or (word.endswith("ed") and len(word) > 4 and word not in NOUNS_IN_ED)


def is_adjective(word: str) -> bool:
    """Whether a word is a common adjective, or reads as one by its suffix or as a compound, such as well-dressed."""
    if word in ADJECTIVES:
        return True
    if "-" in word and is_participle(word.rpartition("-")[2]):
        return True
    return word.endswith(SUFFIXES) and len(word) > 5 and word not in NO_ADJECTIVES


def is_adverb(word: str) -> bool:
    """Whether a word is a common adverb, or reads as one by its suffix."""
    return word in ADVERBS or (word.endswith("ly") and len(word) > 4 and word not in NO_ADVERBS)


def is_plural(word: str) -> bool:
    """Whether a noun reads as more than one."""
    return word in PLURALS or (word.endswith("s") and not word.endswith(("ss", "us", "is")))
