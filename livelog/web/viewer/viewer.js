/* The page: builds the parts of the viewer once and connects them.
 *
 * It uses the client and the public protocol only. There is one `view`; changing it changes the
 * address, the controls and the timeline together, in `showView`.
 */
import { Chips } from "./chips.js";
import { ConnectionStatus } from "./connectionstatus.js";
import { Controls } from "./controls.js";
import { Counts } from "./counts.js";
import { count } from "./format.js";
import { Details } from "./details.js";
import { copy, download, ndjson } from "./export.js";
import { Fault } from "./fault.js";
import { Menu } from "./handles.js";
import { marksOf } from "./highlight.js";
import { Lines } from "./lines.js";
import { Login, token } from "./login.js";
import { Pages } from "./pages.js";
import { listenToKeys } from "./shortcuts.js";
import { drawRow } from "./row.js";
import { LiveLog } from "../client/livelog.js";
import { Publisher } from "./publisher.js";
import { Rates } from "./rates.js";
import { Scroller } from "./scroller.js";
import { Timeline } from "./timeline.js";
import { EVERYTHING, fromAddress, narrowed, toAddress, wordsOf } from "./view.js";

const NOTICE_MS = 8000;

const part = (id) => document.getElementById(id);
const live = new LiveLog(undefined, { heartbeatMs: 5000, token: token() });
const shown = { marks: null, pictures: false };
let view = fromAddress(location.search);
let paused = false;
let noticeTimer = 0;

const rates = new Rates(part("rates"), (figures) => controls.showRates(figures));
const pages = new Pages();
const timeline = new Timeline(live, pages, changed, (message) => rates.count(message));
const lines = new Lines(timeline);
const details = new Details(
  {
    panel: part("details"),
    title: part("title"),
    values: part("values"),
    json: part("json"),
    raw: part("raw"),
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
const scroller = new Scroller(part("rows"), lines, draw, {
  moved,
  drawn,
  selected: (message) => details.show(message, shown.marks),
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
  (next) => showView(next),
);
const publisher = new Publisher(live, {
  dialog: part("publisher"),
  form: part("message"),
  type: part("type"),
  fields: part("message-fields"),
  answer: part("answer"),
});
const login = new Login(live, {
  dialog: part("login"),
  form: part("login-form"),
  reason: part("login-reason"),
  token: part("token"),
});
const counts = new Counts(pages, {
  panel: part("counts"),
  title: part("counts-title"),
  values: part("counts-values"),
  state: part("counts-state"),
  close: part("counts-close"),
});
const chips = new Chips(part("chips"), (next) => showView(next));
const fault = new Fault(part("search"), part("fault"));
new Menu(part("menu"), document.querySelector("main"), {
  include: (wanted) => showView(narrowed(view, wanted), "pushState"),
  count: (field) => counts.open(view, field),
  copy: (text) => copyText(text, "Copied."),
});
new ConnectionStatus(live, {
  text: part("connection"),
  reconnect: part("reconnect"),
  light: part("light"),
});

// The view.

function showView(next, remember = "replaceState") {
  view = next;
  history[remember](null, "", toAddress(view) || location.pathname);
  open();
}

function open() {
  shown.marks = marksOf(wordsOf(view));
  document.title = view.text ? `${view.text} · livelog` : "livelog";
  setPaused(false);
  controls.show(view);
  chips.show(view);
  counts.refresh(view);
  details.close();
  if (view.at === null) scroller.toEnd();
  else scroller.show(view.at);
  timeline.open(view);
}

function showContext(message) {
  if (message) showView({ ...EVERYTHING, at: message.seq }, "pushState");
}

function draw(message) {
  return drawRow(message, { ...shown, onFill: () => fill(message) });
}

async function fill(gap) {
  const found = await timeline.fill(gap);
  const none = "The server does not have them any more.";
  if (!timeline.failure) notify(found ? `${count(found, "message")} loaded.` : none);
  scroller.redraw();
}

function changed() {
  lines.update();
  scroller.update();
}

// Figures and notices beside the rows.

/** Called as often as the rows are drawn, not as often as a message comes. */
function drawn() {
  showUnseen();
  showTotal();
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

function showTotal() {
  const { rows, older, loading, failure } = timeline;
  const empty = part("empty");
  const total = rows.length + older + timeline.unseen;
  const words = loading === "opening" ? "loading …" : count(total, "message");
  const isPlaced = fault.show(failure, view.text); // then it is told once, at its place
  const problem = failure && (isPlaced ? "could not load" : `could not load: ${failure.message}`);
  part("total").textContent = problem ?? words;
  if (failure) login.refused(failure.code);
  empty.hidden = rows.length > 0;
  if (rows.length) return;
  if (isPlaced) empty.textContent = "The expression has a fault.";
  else if (failure) empty.textContent = `Could not load: ${failure.message}`;
  else if (loading) empty.textContent = "Loading …";
  else if (toAddress(view)) empty.textContent = "No message matches yet. New ones appear here.";
  else empty.textContent = "There is no message yet. New ones appear here.";
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

// Actions.

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

/** Load all missed messages, unless they are too many: then begin anew at the newest. */
async function toNewest() {
  setPaused(false);
  if (timeline.complete || (await timeline.catchUp())) {
    scroller.toEnd();
    timeline.hold(false);
  } else showView({ ...view, at: null });
}

function copyOut(messages) {
  return copyText(ndjson(messages), `${count(messages.length, "message")} copied.`);
}

async function copyText(text, done) {
  try {
    await copy(text);
    notify(done);
  } catch (error) {
    notify(`Not copied: ${error.message}`, "bad");
  }
}

function togglePictures() {
  shown.pictures = !shown.pictures;
  part("pictures").setAttribute("aria-pressed", String(shown.pictures));
  scroller.redraw();
}

/** Button → action. */
const clicks = {
  pause,
  publish: () => publisher.open(),
  copy: () => copyOut(timeline.rows),
  download: () => download(ndjson(timeline.rows)),
  pictures: togglePictures,
  help: () => part("shortcuts").showModal(),
  unseen: toNewest,
  "publisher-close": () => part("publisher").close(),
};
for (const [id, act] of Object.entries(clicks)) part(id).addEventListener("click", act);

listenToKeys({
  "/": () => part("search").select(),
  "?": () => part("shortcuts").showModal(),
  p: pause,
  f: () => controls.toggleFilters(),
  n: () => publisher.open(),
  c: () => showContext(details.message),
  Enter: () => details.enter(),
  j: () => scroller.step(1),
  k: () => scroller.step(-1),
  ArrowDown: () => scroller.step(1),
  ArrowUp: () => scroller.step(-1),
  PageUp: () => scroller.page(-1),
  PageDown: () => scroller.page(1),
  End: toNewest,
  Home: () => scroller.toStart(),
  Escape: () => part(details.message ? "close" : "counts-close").click(),
});

live.on("throttled", ({ seconds, action }) => {
  const wait = Math.max(1, Math.ceil(seconds));
  const effect = action === "publish" ? "The message goes out" : "Live messages of this view begin";
  const words = `The server allows only so many commands a minute. ${effect} in ${wait} s.`;
  notify(words, "", wait * 1000);
});
live.on("gap", ({ to }) => {
  if (to !== null) notify("Some messages could not be resumed; a row shows where.", "bad");
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
  // A page that could not be loaded while the server was away is loaded now.
  if (name !== "connected" || !timeline.failure) return;
  if (timeline.rows.length) timeline.retry();
  else open();
});
addEventListener("popstate", () => {
  view = fromAddress(location.search);
  open();
});

open();
