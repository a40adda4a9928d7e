/* The DOM of one row. The rule: text from a message only ever becomes a text node.
 *
 * Names and contents stand in <bdi>, so that letters that change the direction of writing have no
 * effect outside of it.
 */
import { exactly } from "./exact.js";
import { clock, dayName, describe, moment } from "./format.js";
import { highlighted } from "./highlight.js";

export function drawRow(message, { marks, pictures, onFill }) {
  if (message.type === "gap") return drawGap(message, onFill);
  if (message.type === "day") return drawDay(message);
  const { subject, summary, badges } = message.redacted ? redacted(message) : describe(exactly(message));
  const row = element("div", `row ${message.type}${message.redacted ? " redacted" : ""}`);
  row.setAttribute("role", "option");
  row.id = `row-${message.seq}`;
  const time = element("time", "time", clock(message.timestamp));
  time.dateTime = message.timestamp;
  time.title = moment(message.timestamp);
  row.append(time, element("span", "type", message.type));
  if (pictures) row.append(picture(message.user_avatar));
  row.append(marked("subject", subject, marks));
  const shown = element("span", "badges");
  for (const { label, kind } of badges) shown.append(element("span", `badge ${kind}`, label));
  row.append(shown, marked("summary", summary, marks));
  return row;
}

/** A message whose content was taken away. */
function redacted({ reason }) {
  return { subject: "", summary: reason ? `redacted: ${reason}` : "redacted", badges: [] };
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

function marked(name, content, marks) {
  const place = element("bdi", name);
  place.append(...highlighted(content, marks));
  return place;
}

export function element(tag, name = "", content = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (content) made.textContent = content;
  return made;
}

