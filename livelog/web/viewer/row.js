/* The DOM of one line. The rule: text from a message only ever becomes a text node.
 *
 * Names and contents stand in <bdi>, so that letters that change the direction of writing change
 * nothing outside of it.
 */
import { clock, describe, moment } from "./format.js";
import { highlighted } from "./highlight.js";

export function drawLine(message, { marks, pictures, onFill }) {
  if (message.type === "gap") return drawGap(message, onFill);
  const { who, what, badges } = describe(message);
  const line = element("div", `line ${message.type}`);
  line.setAttribute("role", "option");
  line.id = `line-${message.seq}`;
  const time = element("time", "time", clock(message.timestamp));
  time.dateTime = message.timestamp;
  time.title = moment(message.timestamp);
  line.append(time, element("span", "type", message.type));
  if (pictures) line.append(picture(message.user_avatar));
  line.append(marked("who", who, marks));
  const shown = element("span", "badges");
  for (const { label, kind } of badges) shown.append(element("span", `badge ${kind}`, label));
  line.append(shown, marked("what", what, marks));
  return line;
}

function drawGap({ seq }, onFill) {
  const line = element("div", "line gap");
  line.setAttribute("role", "option");
  line.id = `line-${seq}`;
  const button = element("button", "fill", "Load what can be loaded");
  button.type = "button";
  button.addEventListener("click", onFill);
  const what = element("span", "what", "messages are missing here");
  line.append(element("span", "who", "Gap"), what, button);
  return line;
}

/** Only http and https, and without telling that server which page asked. */
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

