"""The types of the JavaScript client: generated from the protocol, and checked by `tsc`."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from livelog.wire import asyncapi
from livelog.wire.typescript import declarations
from tests.support.follower import CLIENT, NODE

COMMITTED = CLIENT.parent / "client" / "protocol.d.ts"
REGENERATE = "python -m tests.test_typescript"

PROGRAM = """
import {
  LiveLog, LiveLogError, TYPES,
  type Command, type DeliveredRaid, type Message, type ServerEvent, type State, type Stub,
} from "livelog";

function words(message: Message | Stub): string {
  if ("redacted" in message) return message.reason ?? "redacted";
  switch (message.type) {
    case "user": return message.content + message.user_id;
    case "system": return message.event satisfies string;
    case "dm": return message.to_user_id + String(message.read satisfies boolean);
    case "raid": return `${message.boss_name} ${message.participants.length}`;
    case "party": return message.member_count.toFixed();
    case "guild": return message.guild_level.toFixed();
    default: return message satisfies never;
  }
}

function position(event: ServerEvent): number | undefined {
  if (event.action === "error") return event.error_code;
  if (event.action === "history") return event.messages.map(words).length;
  if (event.action === "gap") return event.to - event.from;
  if (event.action === "disconnected") return event.reconnect_after_ms;
  return event.action === "pong" || event.action === "subscribed" ? event.seq : undefined;
}

const retry = (state: State) => (state.name === "waiting" ? state.retryAt : 0);
const command: Command = { action: "subscribe", message_types: TYPES, since: 7 };

export async function follow(raids: DeliveredRaid[]) {
  const live = new LiveLog("ws://localhost:8000/ws/live-log", { token: async () => "token" });
  live.on("gap", ({ from, to }) => console.log(from, to, retry(live.state), command));
  live.on("error", (error) => error instanceof LiveLogError && error.code.toFixed());
  const { ready, stop } = live.listen({ types: ["raid"], filters: { status: "wipe" } }, (raid) => {
    raids.push(raid);
  });
  await ready;
  live.listen({}, (message) => console.log(words(message)));
  const { seq } = await live.publish({ type: "user", user_id: "1", username: "Ann", content: "" });
  const page = await live.history({ before: seq, filters: { type: ["user", "dm"] } });
  stop();
  return page.messages.map((message) => message.seq + page.total_count);
}

export const wire = (text: string) => position(JSON.parse(text) as ServerEvent);
"""

WRONG = """
import { LiveLog, type Message, type ServerEvent } from "livelog";

const live = new LiveLog("ws://localhost:8000/ws/live-log");
export function wrong(message: Message, event: ServerEvent) {
  // @ts-expect-error: only some messages have content
  message.content;
  // @ts-expect-error: there is no such type
  if (message.type === "shout") return;
  // @ts-expect-error: a raid has a boss, but no content
  if (message.type === "raid") message.content;
  // @ts-expect-error: a pong has no code
  if (event.action === "pong") event.error_code;
  // @ts-expect-error: only raids were asked for
  live.listen({ types: ["raid"] }, (raid) => raid.content);
  // @ts-expect-error: a message needs its content
  live.publish({ type: "user", user_id: "1", username: "Ann" });
  // @ts-expect-error: pages of a search have no `before`
  live.search("word", { before: 7 });
  // @ts-expect-error: only some states have a time to retry
  live.state.retryAt;
}
"""


def generated() -> str:
    """The declarations of the protocol as it is now."""
    return declarations(json.loads(asyncapi.document("/ws/live-log", "1.2.3")))


def test_the_committed_types_are_those_of_the_protocol() -> None:
    committed = COMMITTED.read_text(encoding="utf-8")
    assert committed == generated(), f"the protocol has changed; run: {REGENERATE}"


def compiled(tsc: Path, folder: Path, program: str) -> list[str]:
    """The errors of a program that imports the client as a package: the number of each's line."""
    modules = folder / "node_modules"
    modules.mkdir()
    (modules / "livelog").symlink_to(CLIENT.parent, target_is_directory=True)
    (folder / "program.mts").write_text(program, encoding="utf-8")
    options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext"]
    done = subprocess.run(
        [tsc, *options, "program.mts"], cwd=folder, capture_output=True, text=True, check=False
    )
    errors = re.findall(r"^(\S+?)\((\d+),\d+\): error", done.stdout, re.MULTILINE)
    assert bool(errors) == (done.returncode != 0), done.stdout + done.stderr
    assert {name for name, _ in errors} <= {"program.mts"}, done.stdout
    return [line for _, line in errors]


def test_a_program_narrows_messages_events_and_states(tsc: Path, tmp_path: Path) -> None:
    assert compiled(tsc, tmp_path, PROGRAM) == []


def test_wrong_uses_do_not_compile(tsc: Path, tmp_path: Path) -> None:
    assert compiled(tsc, tmp_path, WRONG) == []


def test_the_compiler_finds_each_wrong_use(tsc: Path, tmp_path: Path) -> None:
    unguarded = WRONG.replace("@ts-expect-error", "")
    lines = WRONG.splitlines()
    wrong = [str(n + 2) for n, line in enumerate(lines) if "@ts-expect-error" in line]
    assert compiled(tsc, tmp_path, unguarded) == wrong


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_node_imports_the_package_by_its_name(tmp_path: Path) -> None:
    assert NODE is not None
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "livelog").symlink_to(CLIENT.parent, target_is_directory=True)
    code = 'import * as all from "livelog"; console.log(JSON.stringify(Object.keys(all)));'
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", code], cwd=tmp_path, capture_output=True, check=True
    )
    declared = re.findall(
        r"^export (?:const|class|function) (\w+)",
        (CLIENT.parent / "client" / "livelog.d.ts").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert sorted(json.loads(done.stdout)) == sorted(declared)


if __name__ == "__main__":
    COMMITTED.write_text(generated(), encoding="utf-8")
