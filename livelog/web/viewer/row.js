/* The DOM of one row. The rule: text from a message only ever becomes a text node.
 *
 * Names and contents stand in <bdi>, so that letters that change the direction of writing have no
 * effect outside of it.
 */
import { drawCells } from "./cells.js";
import { element } from "./element.js";
import { exactly } from "./exact.js";
import { describe } from "./format.js";
import { asHandle } from "./handles.js";
import { highlighted } from "./highlight.js";
import { inSight, slid, snippetsOf } from "./snippet.js";
import { ago, clock, dayName, moment } from "./time.js";

/** Draw a row. `shown`: marks, asked (fields that the search compares), columns, pictures, relative
 * (times), most (characters of its text), room (a `Room`), onFill. */
export function drawRow(message, shown) {
  const { marks, columns, pictures, relative, most, onFill } = shown;
  if (message.type === "gap") return drawGap(message, onFill);
  if (message.type === "day") return drawDay(message);
  const words = message.redacted ? redacted(message) : describe(exactly(message), most);
  const row = element("div", `row ${message.type}${message.redacted ? " redacted" : ""}`);
  row.setAttribute("role", "option");
  row.id = `row-${message.seq}`;
  const time = element("time", "time", timeOf(message.timestamp, relative));
  time.dateTime = message.timestamp;
  time.title = moment(message.timestamp);
  const type = handle(element("span", "type", message.type), ["type", message.type]);
  row.append(time, type);
  if (columns.length) row.append(...drawCells(message, columns, marks, !isCoarse()));
  else {
    if (pictures) row.append(picture(message.user_avatar));
    row.append(named(words.subject, marks, words.about), drawBadges(words.badges, marks));
  }
  row.append(drawSummary(message, words, [...row.children].slice(1), shown));
  return row;
}

function drawBadges(badges, marks) {
  const shown = element("span", "badges");
  for (const { label, kind, about } of badges) {
    const badge = handle(element("span", `badge ${kind}`), about);
    badge.append(...highlighted(label, marks));
    shown.append(badge);
  }
  return shown;
}

/** The text, and before it what was found where the row does not show it; `beside` has the elements
 * of the row besides it. */
function drawSummary(message, { summary, badges }, beside, { marks, asked, room }) {
  const place = element("bdi", "summary");
  if (message.redacted || !(marks || asked.size)) {
    place.append(summary);
    return place;
  }
  const width = room.beside(badges);
  const text = slid(summary, marks, width, room.widthOf);
  const parts = beside.flatMap((part) => (part.matches(".badges") ? [...part.children] : [part]));
  const seen = [...parts.map((part) => part.textContent), inSight(text, width, room.widthOf)];
  const snippets = snippetsOf(message, seen, marks, asked, width);
  place.append(...snippets.flatMap((snippet) => [drawSnippet(snippet, marks), " "]));
  place.append(...highlighted(text, marks));
  return place;
}

function drawSnippet({ label, text }, marks) {
  const snippet = element("bdi", "snippet");
  snippet.append(element("span", "field", label), " ", ...highlighted(text.replace(/\s+/g, " "), marks));
  return snippet;
}

/** A message whose content was taken away. */
function redacted({ reason }) {
  return { subject: "", summary: reason ? `redacted: ${reason}` : "redacted", badges: [] };
}

/** Write the times of all rows again that say how long ago something is. */
export function refreshTimes(rows) {
  for (const time of rows.querySelectorAll(".row .time")) {
    const words = ago(time.dateTime, Date.now());
    if (time.textContent !== words) time.textContent = words;
  }
}

function timeOf(timestamp, relative) {
  return relative ? ago(timestamp, Date.now()) : clock(timestamp);
}

function drawGap({ seq }, onFill) {
  const row = element("div", "row gap");
  row.setAttribute("role", "option");
  row.id = `row-${seq}`;
  const button = element("button", "fill", "Load what can be loaded");
  button.type = "button";
  button.addEventListener("click", onFill);
  const summary = element("span", "summary", "messages are missing here");
  row.append(element("span", "subject", "Gap"), summary, button);
  return row;
}

function drawDay({ timestamp }) {
  const row = element("div", "day");
  row.setAttribute("role", "presentation");
  const day = element("time", "", dayName(timestamp));
  day.dateTime = timestamp;
  row.append(day);
  return row;
}

/** An avatar: http and https only, and without a Referer, which would name this page. */
function picture(address) {
  const frame = element("span", "picture");
  let url = null;
  try {
    url = new URL(address);
  } catch {
    return frame;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return frame;
  const image = element("img");
  image.alt = "";
  image.loading = "lazy";
  image.referrerPolicy = "no-referrer";
  image.src = url.href;
  frame.append(image);
  return frame;
}

/** The subject; its text alone is the handle, not the place around it. */
function named(subject, marks, about) {
  const text = element("span");
  text.append(...highlighted(subject, marks));
  const place = element("bdi", "subject");
  place.append(handle(text, about));
  return place;
}

/** Make an element the handle of a field's value, `[field, value]`; undefined without one. For a
 * finger it would be too small: there a tap opens the message, with all of its values. */
function handle(made, about) {
  if (!about || about[1] === undefined || isCoarse()) return made;
  const [field, value] = about;
  return asHandle(made, { field, json: JSON.stringify(value) });
}

let coarse = null; // asked for each handle of each row

function isCoarse() {
  coarse ??= matchMedia("(pointer: coarse)");
  return coarse.matches;
}
