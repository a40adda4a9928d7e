/* The house of the viewer: builds the parts once and connects them.
 *
 * It uses livelog.js and the public protocol only. What is looked at is one `view`; changing it
 * changes the address, the controls and the timeline together, in `look`.
 */
import { Archive } from "./pages.js";
import { Controls } from "./controls.js";
import { count } from "./format.js";
import { Details } from "./details.js";
import { copy, download, ndjson } from "./export.js";
import { marksOf } from "./highlight.js";
import { Identity, token } from "./login.js";
import { listenToKeys } from "./shortcuts.js";
import { drawLine } from "./row.js";
import { LiveLog } from "../client/livelog.js";
import { Publisher } from "./publisher.js";
import { Rates } from "./rates.js";
import { Scroller } from "./scroller.js";
import { Status } from "./connectionstatus.js";
import { Timeline } from "./timeline.js";
import { EVERYTHING, fromAddress, toAddress } from "./view.js";

const NOTICE_MS = 8000;

const part = (id) => document.getElementById(id);
const live = new LiveLog(besideThePage("ws/live-log"), { heartbeatMs: 5000, token: token() });
const shown = { marks: null, pictures: false };
let view = fromAddress(location.search);
let paused = false;
let noticeTimer = 0;

const rates = new Rates(part("rates"), (figures) => controls.showRates(figures));
const timeline = new Timeline(live, new Archive(), () => scroller.update(), (message) =>
  rates.count(message),
);
const details = new Details(
  {
    panel: part("details"),
    title: part("title"),
    json: part("json"),
    close: part("close"),
    context: part("context"),
    copy: part("copy-one"),
  },
  {
    context: showContext,
    copy: (message) => copyOut([message]),
    closed: () => scroller.release(),
  },
);
const scroller = new Scroller(part("lines"), timeline, draw, {
  moved,
  drawn,
  chosen: (message) => details.show(message, shown.marks),
  nearTop: () => timeline.failure === null && timeline.loadOlder(),
  nearBottom: () => !paused && timeline.failure === null && timeline.loadNewer(),
});
const controls = new Controls(
  {
    form: part("controls"),
    search: part("search"),
    types: part("types"),
    fields: part("fields"),
    from: part("from"),
    to: part("to"),
    filters: part("filters"),
    more: part("more"),
    clear: part("clear"),
  },
  (next) => look(next),
);
const publisher = new Publisher(live, {
  dialog: part("publisher"),
  form: part("message"),
  type: part("type"),
  fields: part("message-fields"),
  answer: part("answer"),
});
const identity = new Identity(live, {
  dialog: part("identity"),
  form: part("proof"),
  why: part("why"),
  token: part("token"),
});
new Status(live, { text: part("connection"), now: part("now"), light: part("light") });

/** The address of a WebSocket on the server of the page, below the same prefix as the page. */
function besideThePage(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

// What is looked at.

function look(next, remember = "replaceState") {
  view = next;
  history[remember](null, "", toAddress(view) || location.pathname);
  open();
}

function open() {
  shown.marks = marksOf(view.text);
  document.title = view.text ? `${view.text} · livelog` : "livelog";
  setPaused(false);
  controls.show(view);
  details.close();
  if (view.at === null) scroller.toEnd();
  else scroller.show(view.at);
  timeline.open(view);
}

function showContext(message) {
  if (message) look({ ...EVERYTHING, at: message.seq }, "pushState");
}

function draw(message) {
  return drawLine(message, { ...shown, onFill: () => fill(message) });
}

async function fill(gap) {
  const found = await timeline.fill(gap);
  const nothing = "Nothing of it is kept any more.";
  if (!timeline.failure) notify(found ? `${count(found, "message")} loaded.` : nothing);
  scroller.redraw();
}

// What is shown beside the lines.

/** As often as the lines are drawn, not as often as a message comes. */
function drawn() {
  showUnseen();
  showPlace();
}

function moved() {
  timeline.hold(paused || !scroller.following);
  showUnseen();
}

function showUnseen() {
  const { unseen } = timeline;
  const button = part("unseen");
  const away = paused || !scroller.following;
  button.hidden = !(unseen && away);
  const words = `${unseen.toLocaleString("en")} new ↓`;
  if (!button.hidden && button.textContent !== words) button.textContent = words;
}

function showPlace() {
  const { lines, older, loading, failure } = timeline;
  const empty = part("empty");
  const total = lines.length + older + timeline.unseen;
  const words = loading === "opening" ? "loading …" : count(total, "message");
  part("place").textContent = failure ? `could not load: ${failure.message}` : words;
  if (failure) identity.refused(failure.code);
  empty.hidden = lines.length > 0;
  if (lines.length) return;
  if (failure) empty.textContent = `Could not load: ${failure.message}`;
  else if (loading) empty.textContent = "Loading …";
  else if (toAddress(view)) empty.textContent = "Nothing matches yet. New messages appear here.";
  else empty.textContent = "Nothing has been said yet. New messages appear here.";
}

function notify(words, kind = "", ms = NOTICE_MS) {
  const notice = part("notice");
  clearTimeout(noticeTimer);
  notice.textContent = words;
  notice.dataset.kind = kind;
  notice.hidden = false;
  noticeTimer = setTimeout(() => {
    notice.hidden = true;
  }, ms);
}

// What can be done.

function setPaused(next) {
  paused = next;
  part("pause").setAttribute("aria-pressed", String(paused));
  part("pause").textContent = paused ? "Go on" : "Pause";
  timeline.hold(paused || !scroller.following);
}

async function pause() {
  setPaused(!paused);
  showUnseen();
  if (!paused && scroller.following) await toNewest();
}

/** Everything that was missed is read, unless it is too much: then it is there to scroll to. */
async function toNewest() {
  setPaused(false);
  if (timeline.complete || (await timeline.catchUp())) {
    scroller.toEnd();
    timeline.hold(false);
  } else look({ ...view, at: null });
}

async function copyOut(lines) {
  try {
    await copy(ndjson(lines));
    notify(`${count(lines.length, "message")} copied.`);
  } catch (error) {
    notify(`Not copied: ${error.message}`, "bad");
  }
}

function togglePictures() {
  shown.pictures = !shown.pictures;
  part("pictures").setAttribute("aria-pressed", String(shown.pictures));
  scroller.redraw();
}

const clicks = {
  pause,
  publish: () => publisher.open(),
  copy: () => copyOut(timeline.lines),
  download: () => download(ndjson(timeline.lines)),
  pictures: togglePictures,
  help: () => part("keys").showModal(),
  unseen: toNewest,
  "publisher-close": () => part("publisher").close(),
};
for (const [id, act] of Object.entries(clicks)) part(id).addEventListener("click", act);

listenToKeys({
  "/": () => part("search").select(),
  "?": () => part("keys").showModal(),
  p: pause,
  f: () => controls.toggleFilters(),
  n: () => publisher.open(),
  c: () => showContext(details.message),
  j: () => scroller.step(1),
  k: () => scroller.step(-1),
  ArrowDown: () => scroller.step(1),
  ArrowUp: () => scroller.step(-1),
  PageUp: () => scroller.page(-1),
  PageDown: () => scroller.page(1),
  End: toNewest,
  Home: () => scroller.toStart(),
  Escape: () => part("close").click(),
});

live.on("throttled", ({ seconds, action }) => {
  const wait = Math.max(1, Math.ceil(seconds));
  const what = action === "publish" ? "The message goes out" : "The live lines of this view begin";
  const words = `The server allows only so many commands a minute. ${what} in ${wait} s.`;
  notify(words, "", wait * 1000);
});
live.on("gap", ({ to }) => {
  if (to !== null) notify("Some messages could not be resumed; a line shows where.", "bad");
  else {
    // Its seqs do not continue those that are shown, so nothing can be joined to them.
    open();
    notify("The server has begun a new log; this is its beginning.", "bad");
  }
});
live.on("token_expiring", ({ seconds }) => {
  const words = "Your token expires in a minute; you will be asked for another one then.";
  notify(words, "", seconds * 1000);
});
live.on("error", (error) => notify(`${error.code}: ${error.message}`, "bad"));
live.on("state", ({ name }) => {
  // What could not be loaded while the server was away is loaded now.
  if (name !== "connected" || !timeline.failure) return;
  if (timeline.lines.length) timeline.retry();
  else open();
});
addEventListener("popstate", () => {
  view = fromAddress(location.search);
  open();
});

open();
