/* The page: builds the parts of the viewer once and connects them.
 *
 * It uses the client and the public protocol only. There is one `view`; changing it changes the
 * address, the controls and the timeline together, in `showView`.
 */
import { Attention } from "./attention.js";
import { Chips } from "./chips.js";
import { ConnectionStatus } from "./connectionstatus.js";
import { Controls } from "./controls.js";
import { Counts } from "./counts.js";
import { count } from "./format.js";
import { Details } from "./details.js";
import { Copying, download, ndjson } from "./export.js";
import { Fault } from "./fault.js";
import { Histogram } from "./histogram.js";
import { Menu } from "./handles.js";
import { Figures } from "./figures.js";
import { marksOf } from "./highlight.js";
import { Lines } from "./lines.js";
import { Login, token } from "./login.js";
import { Look } from "./look.js";
import { Moderating, closePanel } from "./moderating.js";
import { Notice } from "./notice.js";
import { Pages } from "./pages.js";
import { listenToKeys } from "./shortcuts.js";
import { drawRow } from "./row.js";
import { LiveLog } from "../client/livelog.js";
import { part, parts } from "./parts.js";
import { Publisher } from "./publisher.js";
import { Rates } from "./rates.js";
import { SavedViews } from "./savedviews.js";
import { Scroller } from "./scroller.js";
import { Selecting } from "./selecting.js";
import { atWallTime } from "./time.js";
import { Timeline } from "./timeline.js";
import { Suggestions } from "./suggestions.js";
import { tellTroubles } from "./troubles.js";
import { valuesOf } from "./values.js";
import { EVERYTHING, fromAddress, narrowed, toAddress, wordsOf } from "./view.js";

const LOOKED_AT = 100; // newest rows of which the fields are suggested

const live = new LiveLog(undefined, { heartbeatMs: 5000, token: token() });
const shown = { marks: null, pictures: false };
let view = fromAddress(location.search);
let paused = false;
const notice = new Notice(part("notice"));
const copying = new Copying(notice);
const attention = new Attention(part("notify"), notice);

const rates = new Rates(part("rates"), (figures) => controls.showRates(figures));
const pages = new Pages();
const timeline = new Timeline(live, pages, changed, counted);
const lines = new Lines(timeline);
const details = new Details(parts.details, {
  context: showContext,
  copy: (message) => copying.messages([message]),
  link: (message) => copying.text(linkTo(message), "Link copied."),
  raw: (raw) => look.set("raw", raw),
  closed: () => scroller.release(),
});
const scroller = new Scroller(part("rows"), lines, draw, {
  moved,
  drawn,
  keeps: (row) => selecting.has(row),
  selected: (message) => details.show(message, shown.marks),
  nearTop: () => timeline.failure === null && timeline.loadOlder(),
  nearBottom: () => !paused && timeline.failure === null && timeline.loadNewer(),
});
const selecting = new Selecting(part("rows"), moved);
const figures = new Figures(timeline, parts.figures);
const histogram = new Histogram(pages, parts.histogram, (from, to) => {
  showView({ ...view, from, to, at: null }, "pushState");
});
const look = new Look(parts.look, changeLook, () => selecting.active);
const controls = new Controls(parts.controls, (next) => showView(next));
const publisher = new Publisher(live, parts.publisher);
const savedViews = new SavedViews(parts.views, {
  current: () => view,
  open: (next) => showView(next, "pushState"),
  save: (text) => download(text, "livelog-views", "json"),
  say: (words, kind) => notice.show(words, kind),
});
const login = new Login(live, parts.login);
const counts = new Counts(pages, parts.counts);
const chips = new Chips(part("chips"), (next) => showView(next));
const fault = new Fault(part("search"), part("fault"));
const menu = new Menu(part("menu"), document.querySelector("main"), {
  include: (wanted) => showView(narrowed(view, wanted), "pushState"),
  count: (field) => counts.open(view, field),
  copy: (text) => copying.text(text, "Copied."),
  more: (handle, opener) => moderating.items(handle, opener),
});
const shared = { live, pages, timeline, details, menu, notice, login };
const moderating = new Moderating(shared, { view: () => view, context: showContext });
new Suggestions(part("search"), part("suggestions"), {
  fields: () => timeline.rows.slice(-LOOKED_AT).flatMap(fieldsOf),
  values: (field, limit) => pages.values(field, limit),
});
new ConnectionStatus(live, parts.connection);

// The view.

function showView(next, remember = "replaceState") {
  view = next;
  history[remember](null, "", (toAddress(view) || location.pathname) + location.hash);
  open();
}

function open() {
  shown.marks = marksOf(wordsOf(view));
  attention.name(view.text ? `${view.text} · livelog` : "livelog");
  setPaused(false);
  controls.show(view);
  chips.show(view);
  counts.refresh(view);
  if (look.values.histogram) histogram.open(view);
  details.close();
  if (view.at === null) scroller.toEnd();
  else scroller.show(view.at);
  timeline.open(view);
}

function showContext(message) {
  if (message) showView({ ...EVERYTHING, at: message.seq }, "pushState");
}

/** The address of a message in this view. */
function linkTo({ seq }) {
  return `${location.origin}${location.pathname}${toAddress({ ...view, at: seq })}`;
}

/** The fields that a row has; a gap has none. */
function fieldsOf(row) {
  return row.type === "gap" ? [] : valuesOf(row).flatMap(({ field }) => field ?? []);
}

function draw(message) {
  return drawRow(message, { ...shown, relative: look.isRelative, onFill: () => fill(message) });
}

async function fill(gap) {
  const found = await timeline.fill(gap);
  const none = "The server does not have them any more.";
  if (!timeline.failure) notice.show(found ? `${count(found, "message")} loaded.` : none);
  scroller.redraw();
}

function counted(message) {
  rates.count(message);
  histogram.count(message);
  attention.count(message);
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
  if (look.values.histogram) histogram.place(...scroller.inSight);
}

function moved() {
  timeline.hold(isAway());
  showUnseen();
}

/** Whether the newest messages are not in sight, or may not move. */
function isAway() {
  return paused || !scroller.following || selecting.active;
}

function showUnseen() {
  figures.showUnseen(isAway());
  attention.unseen(isAway() ? timeline.unseen : 0);
}

function showTotal() {
  const { failure } = timeline;
  const isPlaced = fault.show(failure, view.text); // then it is told once, at its place
  figures.showTotal(view, isPlaced);
  if (failure) login.refused(failure.code);
}

// The look.

function changeLook() {
  lines.reset();
  scroller.measure();
  scroller.redraw();
  controls.show(view);
  chips.show(view);
  moderating.redraw();
  details.showRaw(look.values.raw);
  if (details.message) details.show(details.message, shown.marks);
}

function toggleHistogram() {
  look.set("histogram", !look.values.histogram);
  if (look.values.histogram) histogram.open(view);
  else histogram.close();
}

// Actions.

function setPaused(next) {
  paused = next;
  part("pause").setAttribute("aria-pressed", String(paused));
  part("pause").textContent = paused ? "Go on" : "Pause";
  timeline.hold(isAway());
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

/** Show the messages of a time among the others of the view. */
async function goTo() {
  const moment = atWallTime(part("goto").value);
  if (!moment) return notice.show("Give a day and a time to go to.", "bad");
  try {
    const at = await pages.seqAt(view, moment.toISOString());
    if (at === null) notice.show("There is no message up to this time.");
    else showView({ ...view, at }, "pushState");
  } catch (error) {
    notice.show(`Could not look for this time: ${error.message}`, "bad");
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
  copy: () => copying.messages(timeline.rows),
  download: () => download(ndjson(timeline.rows)),
  pictures: togglePictures,
  display: () => part("settings-dialog").showModal(),
  times: toggleHistogram,
  views: () => savedViews.open(),
  "views-close": () => part("views-dialog").close(),
  zone: () => look.changeZone(),
  go: goTo,
  help: () => part("shortcuts").showModal(),
  unseen: toNewest,
  "publisher-close": () => part("publisher").close(),
};
for (const [id, act] of Object.entries(clicks)) part(id).addEventListener("click", act);

listenToKeys({
  "/": () => part("search").select(),
  "?": () => part("shortcuts").showModal(),
  p: pause,
  h: toggleHistogram,
  z: () => look.changeZone(),
  f: () => controls.toggleFilters(),
  v: () => savedViews.open(),
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
  ...moderating.keys,
  Escape: closePanel,
});

tellTroubles(live, notice, open);
live.on("redacted", ({ seqs }) => {
  if (details.message && seqs.includes(details.message.seq)) details.close();
  scroller.redraw();
});
live.on("state", ({ name }) => {
  // A page that could not be loaded while the server was away is loaded now.
  if (name !== "connected" || !timeline.failure) return;
  if (timeline.rows.length) timeline.retry();
  else open();
});
addEventListener("popstate", () => {
  const next = fromAddress(location.search);
  if (toAddress(next) === toAddress(view)) return; // another part of the address has changed
  view = next;
  open();
});

part("goto").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // it is no condition of the view
  goTo();
});

details.showRaw(look.values.raw);
scroller.measure();
open();
