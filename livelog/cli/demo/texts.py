"""Tables of the sample world: names, chances, and lines of chat.

The world replaces `{words}` in braces with facts of the event, or else with random ones.
"""

# fmt: off
KINDS = ["user"] * 20 + ["raid"] * 6 + ["system"] * 5 + ["dm", "party", "guild"] * 3
NAMES = """
    DragonMaster Aelwyn Brumhilda Cassio Dunmarrow Eirik Fennec Grimtooth Halvar Isolde Jinx Kestrel
    Lumi Moonpetal Nyx Oswin Pyra Quill Ragnvald Søren Tamsin Umbra Vesper Wulfgar Xanthe Yorick
    Zephyra Žofka Björk Mirabel Thistle Nightjar Pippa Rowan Stonefist Élodie Cinder Ravn さくら Bob
"""
SERVERS = ["main"] * 5 + ["eu"] * 3 + ["us-east"] * 2
BADGES = ["admin"] + ["moderator"] * 2 + ["vip"] * 5 + [None] * 32
ROLES = {"warrior": "tank", "paladin": "tank", "priest": "healer", "druid": "healer",
         "mage": "dps", "rogue": "dps", "hunter": "dps", "warlock": "dps"}
RAID_TEAM = ["tank", "healer", "dps", "dps", "healer", "dps", "dps"]
RAIDS = [("Dragon's Lair", "Ancient Red Dragon"), ("Sunken Citadel", "Tidemother Ysolde"),
         ("Frostspire", "Hrimgar the Pale"), ("Ember Vault", "Forgelord Kazrak"),
         ("Gloomwood", "The Hollow Stag"), ("Halls of Dusk", "Queen Morvanna")]
RAID_START = {"status": "preparing", "health_percentage": 100, "duration_seconds": 0}
VICTORY_CHANCE = {"normal": 0.7, "heroic": 0.5, "mythic": 0.3}
PARTY_EVENTS = ["level_bonus", "member_promoted"] + ["member_left"] * 2 + ["member_joined"] * 4
GUILDS = ["The Dragonslayers", "Night Watch", "Iron Covenant", "Les Étoiles"]
ZONES = ["Dragon Valley", "Ashen Pass", "Silverford", "Raven Hill", "Stormwatch", "Salt Marsh"]
UPGRADES = ["War Room", "Great Hall", "Alchemy Lab", "Siege Workshop", "Griffin Roost"]
ITEMS = ["Frostbite Dagger", "Emberweave Robe", "Titan's Grip", "Moonsilver Ring", "Oathkeeper",
         "Phoenix Feather", "Cloak of Whispers", "Runed Greataxe", "Stormcaller Staff"]
TROUBLE = [("server_maintenance", "warning", "Restart in 15 minutes, expect a short disconnect"),
           ("server_maintenance", "warning", "Patch 4.2.1 in 30 minutes, back after about 20"),
           ("error", "error", "Auction house is slow to answer"),
           ("error", "error", "Mail is delivered with a delay")]
SMALL_TALK = {  # channel → what is said there at any time
    "general": ["good morning all ☀️", "hi o/", "anyone up for {zone}?", "brb, coffee", "lol",
        "where is the flight master in {zone}?", "is {boss_name} harder since the patch?",
        "{friend} are you there?", "sunset over {zone} 😍", "how do I get to {raid_name}?",
        "back after a year, feels great", "my cat walked over the keyboard, sorry {friend}",
        "fishing in {zone}, {number} trout so far", "nice mount, {friend}!", "bonsoir à tous",
        "how does [{item}] scale?", "ありがとう {friend}!", "{zone} or {raid_name} next?"],
    "trade": ["WTS [{item}] {price}g", "WTB [{item}], paying {price}g", "WTT [{item}], offers?",
        "WTS {number}x Iron Ore, {price}g", "enchanter at the bank in {zone}, tips welcome",
        "price check on [{item}]?", "{price}g for [{item}]? in this economy?"],
    "raid": ["any {raid_name} group tonight?", "anyone got a log of a clean {boss_name} kill?",
        "{raid_name} loot rules: need before greed", "{number} tries on {boss_name}, I love it"],
    "guild-chat": ["evening everyone", "who took the last flask from the bank?", "officers at 8",
        "{number} crystals to go", "dailies in {zone}, anyone?", "sign up for {raid_name} please"],
}
TALK = {  # something that happens → where it is talked about, and what is said
    "preparing": ("raid", ["LF {role} for {raid_name} ({difficulty}), {here}/{size}",
        "{here}/{size} for {boss_name}, need {role}", "summons at {raid_name} please"]),
    "ready": ("raid", ["ready check ✅", "pulling {boss_name} in 10", "food and flasks, please",
        "{lead} pulls", "same plan: stack, spread, burn", "interrupts: {lead} first, then me"]),
    "in_progress": ("raid", ["{boss_name} at {health_percentage}%", "out of the fire please",
        "{health_percentage}%, keep it up 🔥", "{boss_name} enrages soon, burn", "heal {lead}!!",
        "oom in 20 seconds", "adds on the left!", "spread, SPREAD", "behind the pillar"]),
    "wipe": ("raid", ["wiped at {health_percentage}%, again?", "my bad, stood in the fire",
        "{boss_name} 1 : us 0", "who pulled the adds? 😅", "{health_percentage}% left, not bad"]),
    "victory": ("raid", ["{boss_name} DOWN 🎉", "gg all!", "[{item}] dropped!!", "gz on [{item}]",
        "my first {difficulty} {boss_name} ❤️", "well led, {lead}", "same time next week?"]),
    "kill": ("general", ["{lead} and friends just killed {boss_name} ({difficulty})",
        "gz on {boss_name}, {lead} 👏", "{raid_name} cleared on {difficulty}, who is next?"]),
    "level": ("general", ["gz {name}!", "{level} already, {name}?", "grats on {level}, {name}"]),
    "joined": ("general", ["wb {name}", "hey {name} o/", "{name}! long time no see"]),
    "party": ("general", ["LFM {zone}, whisper me", "one more for quests in {zone}?"]),
    "war_declared": ("guild-chat", ["war with {target_guild_name} ⚔️", "for {territory}!",
        "{target_guild_name} won't keep {territory}"]),
    "conquest_started": ("guild-chat", ["all hands to {territory}!", "catapults are in place",
        "two more at the tower in {territory} please", "north gate of {territory}, now"]),
    "conquest_complete": ("guild-chat", ["{territory} is ours! 🏰", "well fought in {territory}",
        "{points_earned} points for {territory}"]),
    "upgrade_complete": ("guild-chat", ["{upgrade} 😍", "thanks for the gold, {upgrade} is done"]),
    "server_maintenance": ("general", ["maintenance again?", "time for a snack", "but we raid!"]),
    "error": ("general", ["same here, errors all over", "relog fixed it for me", "devs plz 🙏"]),
}
WHISPERS = [  # one says, the other answers, and so on
    "hey, free for {raid_name} later? | sure, what time? | around 8 | I'm in",
    "still selling [{item}]? | yes, {price}g | deal, mailing you now 👍",
    "thanks for the help in {zone}! | any time :)",
    "is your guild recruiting? | we are, what do you play? | a bit of all | ok, invite sent",
    "got {number} spare flasks, want some? | you're a hero, {price}g ok? | keep the gold",
    "psst, rare spawn in {zone} | omw!!",
    "what was your build for {boss_name}? | full haste, I'll send a screenshot | merci beaucoup",
]
# fmt: on
