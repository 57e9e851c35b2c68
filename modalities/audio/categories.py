"""What the sound-effects network's three classifiers call their outputs: categories of the Universal Category System.

The checkpoint has no names. They follow from the alphabetical order of the system's 82 categories, of which each
classifier misses a few, and from listening: outputs of the three were aligned by their responses to ESC-10's folds 1 to
4, to this project's synthetic sounds and to test signals (clicks, sweeps, rattles). Where the order leaves a choice
that listening did not settle, the output has no name. Source of the categories and of what belongs to each:
universalcategorysystem.com, in the public domain.
"""

from __future__ import annotations

# category -> what it holds, in plain words
HOLDS: dict[str, tuple[str, ...]] = {
    "air": ("air", "blowing air", "air hiss", "suction"),
    "aircraft": ("aircraft", "helicopter", "jet", "propeller plane", "rocket"),
    "alarms": ("alarm", "buzzer", "siren", "alarm clock"),
    "ambience": ("ambience", "traffic", "forest", "market", "seaside", "room tone"),
    "animals": (
        *("animal", "frog", "cat", "dog", "farm animal", "horse", "insect", "monkey", "rodent", "reptile", "bat"),
        "wild animal",
    ),
    "archived": (),
    "beeps": ("beep", "electronic beep", "timer"),
    "bells": ("bell", "doorbell", "gong", "handbell"),
    "birds": (*("bird", "bird of prey", "crow", "poultry", "songbird", "sea bird", "tropical bird", "wading bird"),),
    "boats": ("boat", "motorboat", "rowboat", "sailboat", "ship", "submarine"),
    "bullets": ("bullet", "ricochet", "bullet impact"),
    "cartoon": ("cartoon", "boing", "pop", "squeak", "twang"),
    "ceramics": ("ceramics", "pottery", "porcelain"),
    "chains": ("chain",),
    "chemicals": ("chemical", "acid", "chemical reaction"),
    "clocks": ("clock", "clock tick", "clock chime"),
    "cloth": ("cloth", "cloth rip", "cloth flap"),
    "communications": (*("communications", "camera", "telephone", "radio", "television", "microphone", "typewriter"),),
    "computers": ("computer", "hard drive", "keyboard", "computer mouse"),
    "creatures": ("creature", "beast", "dinosaur", "dragon", "monster"),
    "crowds": ("crowd", "applause", "cheering", "children playing", "laughter"),
    "designed": ("sound design", "drone", "rumble", "whoosh", "synthetic tone"),
    "destruction": ("destruction", "crash", "collapse", "debris"),
    "dirt & sand": ("dirt", "sand", "dust"),
    "doors": ("door", "gate", "cabinet door", "knock on a door"),
    "drawers": ("drawer",),
    "electricity": ("electricity", "electric arc", "buzz", "hum", "sparks"),
    "equipment": ("equipment", "sport equipment", "tactical gear"),
    "explosions": ("explosion",),
    "farts": ("fart",),
    "fight": ("fight", "punch", "body fall"),
    "fire": ("fire", "burning", "crackling fire", "flame", "sizzle", "torch"),
    "fireworks": ("fireworks", "firecracker"),
    "foley": ("foley", "cloth movement", "hands", "props"),
    "food & drink": ("food", "drink", "cooking", "eating", "glassware", "kitchenware"),
    "footsteps": ("footsteps", "walking", "horse hooves"),
    "games": ("game", "arcade game", "casino", "board game"),
    "geothermal": ("lava", "geyser", "mud pot"),
    "glass": ("glass", "glass breaking"),
    "gore": ("blood", "bone", "flesh", "gore"),
    "guns": ("gun", "rifle", "pistol", "cannon", "shotgun"),
    "horns": ("horn", "air horn"),
    "human": ("human", "breath", "burp", "cough", "heartbeat", "kiss", "sneeze", "snore", "spit"),
    "ice": ("ice", "ice breaking"),
    "lasers": ("laser",),
    "leather": ("leather", "leather creak"),
    "liquid & mud": ("liquid", "mud", "bubbles"),
    "machines": ("machine", "appliance", "construction machine", "elevator", "fan", "pump", "printer"),
    "magic": ("magic", "magic spell", "shimmer"),
    "mechanical": ("mechanism", "click", "gears", "latch", "lever", "lock", "ratchet", "switch"),
    "metal": ("metal", "metal impact", "metal scraping"),
    "motors": ("motor", "combustion engine", "electric motor", "turbine", "servo"),
    "movement": ("movement", "crowd movement"),
    "musical": (
        *("music", "musical instrument", "brass", "chime", "choir", "percussion", "strings", "woodwind", "song"),
    ),
    "natural disaster": ("natural disaster", "avalanche", "earthquake", "tornado", "volcano"),
    "objects": ("object", "bag", "coins", "furniture", "jewelry", "keys", "luggage", "packaging", "umbrella", "zipper"),
    "paper": ("paper", "paper rip"),
    "plastic": ("plastic", "plastic impact"),
    "rain": ("rain", "rain on a roof", "rain on leaves"),
    "robots": ("robot",),
    "rocks": ("rock", "stone", "rocks falling"),
    "rope": ("rope", "rope creak"),
    "rubber": ("rubber",),
    "scifi": ("science fiction", "spaceship"),
    "snow": ("snow",),
    "sports": ("sport", "ball game", "skating", "gym"),
    "swooshes": ("swoosh", "whoosh"),
    "tools": ("tool", "hand tool", "power tool", "pneumatic tool"),
    "toys": ("toy",),
    "trains": ("train", "train horn", "steam train", "subway", "tram"),
    "user interface": ("user interface", "alert", "click", "glitch"),
    "vegetation": ("vegetation", "grass", "leaves", "tree"),
    "vehicles": ("vehicle", "bicycle", "bus", "car", "motorcycle", "truck", "car horn", "tire skid"),
    "voices": ("voice", "baby", "child", "crying", "laugh", "scream", "singing", "man", "woman"),
    "water": (
        *("water", "water drip", "fountain", "water splash", "pouring water", "stream", "surf", "waterfall", "waves"),
    ),
    "weapons": ("weapon", "sword", "arrow", "knife", "whip"),
    "weather": ("weather", "hail", "storm", "thunder"),
    "whistles": ("whistle",),
    "wind": ("wind", "gust of wind"),
    "windows": ("window",),
    "wings": ("wing", "wing flap"),
    "wood": ("wood", "wood breaking", "wood impact"),
}

# of a classifier: categories that it has not, and those whose place is not settled
_MISSING = (
    {"archived", "ceramics", "leather", "windows"},
    {"archived", "foley", "geothermal"},
    {"archived", "chemicals", "destruction", "dirt & sand", "food & drink", "liquid & mud", "magic", "natural disaster"}
    | {"robots", "rocks", "rope", "sports", "wings"},
)
_UNSETTLED = (
    {"chains", "chemicals", "liquid & mud"},
    {"food & drink"},
    {"beeps", "communications", "computers", "foley", "games", "geothermal", "ice", "lasers", "leather", "movement"}
    | {"rubber", "scifi", "snow"},
)
CATEGORIES: tuple[tuple[str | None, ...], ...] = tuple(
    tuple(None if name in unsettled else name for name in HOLDS if name not in missing)
    for missing, unsettled in zip(_MISSING, _UNSETTLED, strict=True)
)
