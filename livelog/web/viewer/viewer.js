/* The page: builds the parts of the viewer once and connects them.
 *
 * It uses the client and the public protocol only. There is one `view`; changing it changes the
 * address, the controls and the timeline together, in `showView`.
 */
import { Account } from "./account.js";
import { Attention } from "./attention.js";
import { Chips } from "./chips.js";
import { ConnectionStatus } from "./connectionstatus.js";
import { Controls } from "./controls.js";
import { Counts } from "./counts.js";
import { count } from "./format.js";
import { credential } from "./credential.js";
import { Details } from "./details.js";
import { Drawing } from "./drawing.js";
import { Copying, download, ndjson } from "./export.js";
import { Fault } from "./fault.js";
import { GoTo } from "./goto.js";
import { Histogram } from "./histogram.js";
import { Menu } from "./handles.js";
import { Figures } from "./figures.js";
import { Lines } from "./lines.js";
import { isOfLogin, Login } from "./login.js";
import { Look } from "./look.js";
import { Moderating } from "./moderating.js";
import { Notice } from "./notice.js";
import { Pages } from "./pages.js";
import { Pane } from "./pane.js";
import { closePanel, closePanelOf } from "./panels.js";
import { listenToKeys } from "./shortcuts.js";
import { LiveLog } from "../client/livelog.js";
import { part, parts } from "./parts.js";
import { Publisher } from "./publisher.js";
import { keptColumns, Raster } from "./raster.js";
import { Rates } from "./rates.js";
import { SavedViews } from "./savedviews.js";
import { Scroller } from "./scroller.js";
import { Selecting } from "./selecting.js";
import { followSteps, keepAddress, stepTo } from "./steps.js";
import { Timeline } from "./timeline.js";
import { Suggestions } from "./suggestions.js";
import { tellSignIn, tellTroubles } from "./troubles.js";
import { TypeCounts } from "./typecounts.js";
import { fieldsIn } from "./values.js";
import { EVERYTHING, fromAddress, linkTo, narrowed, toAddress } from "./view.js";

const LOOKED_AT = 100; // newest rows of which the fields are suggested

const live = new LiveLog(undefined, { heartbeatMs: 5000, token: credential.source() });
let view = fromAddress(location.search);
let paused = false;
let refusal = null; // the failure that the login knows
const notice = new Notice(part("notice"));
const copying = new Copying(notice);
const pane = new Pane(part("split"), part("login"));
const attention = new Attention(part("notify"), notice, pane);

const rates = new Rates(part("rates"), (figures) => controls.showRates(figures));
const pages = new Pages();
const timeline = new Timeline(live, pages, changed, counted);
const typeCounts = new TypeCounts(live, pages, (counts) => controls.showCounts(counts));
const lines = new Lines(timeline);
const details = new Details(parts.details, {
  context: showContext,
  copy: (message) => copying.messages([message]),
  link: (message) => copying.text(linkTo(view, message), "Link copied."),
  raw: (raw) => look.set("raw", raw),
  closed: () => scroller.release(),
});
const drawing = new Drawing({ look: () => look, room: () => raster.room, fill });
const scroller = new Scroller(part("rows"), lines, drawing.draw, {
  moved,
  drawn,
  keeps: (row) => selecting.has(row),
  selected: (message, isLed) => details.show(message, drawing.marks, isLed),
  nearTop: () => timeline.failure === null && timeline.loadOlder(),
  nearBottom: () => !paused && timeline.failure === null && timeline.loadNewer(),
});
const selecting = new Selecting(part("rows"), moved);
const raster = new Raster(parts.raster, {
  known: knownFields,
  changed: setColumns,
  resized: () => selecting.active || scroller.redraw(),
});
const figures = new Figures(timeline, parts.figures);
const histogram = new Histogram(pages, parts.histogram, (from, to) => {
  showView({ ...view, from, to, at: null }, stepTo);
});
const look = new Look(parts.look, changeLook, () => selecting.active);
const controls = new Controls(parts.controls, (next) => showView(next));
const publisher = new Publisher(live, parts.publisher);
const savedViews = new SavedViews(parts.views, raster, {
  current: () => view,
  open: (next) => showView(next, stepTo),
  save: (text) => download(text, "livelog-views", "json"),
  say: (words, kind) => notice.show(words, kind),
});
new GoTo(part("goto"), part("go"), {
  find: (moment) => pages.seqAt(view, moment),
  show: (at) => showView({ ...view, at }, stepTo),
  say: (words, kind) => notice.show(words, kind),
});
const login = new Login(live, parts.login);
new Account(live, parts.account, () => login.open());
const counts = new Counts(pages, parts.counts);
const chips = new Chips(part("chips"), (next) => showView(next));
const fault = new Fault(part("search"), part("fault"));
const menu = new Menu(part("menu"), document.querySelector("main"), {
  include: (wanted) => showView(narrowed(view, wanted), stepTo),
  count: (field) => counts.open(view, field),
  column: (field) => raster.toggle(field),
  hasColumn: (field) => raster.has(field),
  copy: (text) => copying.text(text, "Copied."),
  more: (handle, opener) => moderating.items(handle, opener),
});
const shared = { live, pages, timeline, details, menu, notice, login };
const own = { view: () => view, context: showContext, waiting: (waiting) => pane.tell({ waiting }) };
const moderating = new Moderating(shared, own);
new Suggestions(part("search"), part("suggestions"), {
  fields: knownFields,
  values: (field, limit) => pages.values(field, limit),
});
new ConnectionStatus(live, parts.connection);

// The view.

/** `write` puts its address into the history. */
function showView(next, write = keepAddress) {
  view = next;
  open();
  write(toAddress(view));
}

/** The address is that of another view. */
function followAddress() {
  const next = fromAddress(location.search);
  if (toAddress(next) === toAddress(view)) return; // another part of it has changed
  view = next;
  open();
}

function open() {
  attention.name(view.text ? `${view.text} · livelog` : "livelog");
  setPaused(false);
  controls.show(view);
  chips.show(view);
  showColumns();
  counts.refresh(view);
  typeCounts.open(view);
  if (look.values.histogram) histogram.open(view);
  details.close();
  if (view.at === null) scroller.toEnd();
  else scroller.show(view.at);
  timeline.open(view);
}

function showContext(message) {
  const { columns } = view;
  if (message) showView({ ...EVERYTHING, at: message.seq, columns }, stepTo);
}

/** The fields that the newest rows have. */
function knownFields() {
  return fieldsIn(timeline.rows.slice(-LOOKED_AT));
}

async function fill(gap) {
  const found = await timeline.fill(gap);
  const none = "The server does not have them any more.";
  if (!timeline.failure) notice.show(found ? `${count(found, "message")} loaded.` : none);
  scroller.redraw();
}

function counted(message) {
  rates.count(message);
  typeCounts.count(message);
  histogram.count(message);
  attention.count(message);
}

function changed() {
  if (!timeline.loading) typeCounts.loaded(timeline.failure);
  lines.update();
  scroller.update();
}

// Figures and notices beside the rows.

/** Called as often as the rows are drawn, not as often as a message comes. */
function drawn() {
  showUnseen();
  showTotal();
  if (!selecting.active) raster.fit(timeline.rows);
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
  const toLogIn = isOfLogin(failure?.code) ? "Log in to read the messages." : "";
  figures.showTotal(view, isPlaced ? "The expression has a fault." : toLogIn);
  if (failure !== refusal) login.refused(failure?.code, failure?.details?.issue);
  refusal = failure;
}

// The look.

function changeLook() {
  lines.reset();
  raster.room.measure();
  scroller.measure();
  scroller.redraw();
  pane.show(view);
  controls.show(view);
  chips.show(view);
  moderating.redraw();
  details.showRaw(look.values.raw);
  details.redraw(drawing.marks);
}

function setColumns(columns) {
  view = { ...view, columns };
  keepAddress(toAddress(view));
  controls.show(view);
  chips.show(view);
  showColumns();
  scroller.redraw();
}

function showColumns() {
  drawing.show(view);
  raster.show(view.columns);
  scroller.measure();
  pane.show(view);
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

function togglePictures() {
  drawing.pictures = !drawing.pictures;
  part("pictures").setAttribute("aria-pressed", String(drawing.pictures));
  scroller.redraw();
}

/** Button → action. */
const clicks = {
  pause,
  publish: () => publisher.open(),
  copy: () => copying.messages(timeline.rows),
  download: () => download(ndjson(timeline.rows)),
  pictures: togglePictures,
  columns: () => raster.choose(),
  display: () => part("settings-dialog").showModal(),
  times: toggleHistogram,
  views: () => savedViews.open(),
  zone: () => look.changeZone(),
  help: () => part("shortcuts").showModal(),
  unseen: toNewest,
};
for (const [id, act] of Object.entries(clicks)) part(id).addEventListener("click", act);

followSteps({ address: () => toAddress(view), moved: followAddress, closed: closePanelOf });
listenToKeys({
  "/": () => part("search").select(),
  "?": () => part("shortcuts").showModal(),
  p: pause,
  h: toggleHistogram,
  z: () => look.changeZone(),
  f: () => controls.toggleFilters(),
  v: () => savedViews.open(),
  n: () => publisher.open(),
  t: () => raster.choose(),
  "[": () => pane.tell({ move: -1 }),
  "]": () => pane.tell({ move: 1 }),
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
tellSignIn(login, notice);
live.on("redacted", ({ seqs }) => {
  if (details.message && seqs.includes(details.message.seq)) details.close();
});
live.on("state", ({ name }) => {
  // A page that could not be loaded while the server was away is loaded now.
  if (name !== "connected" || !timeline.failure) return;
  if (timeline.rows.length) timeline.retry();
  else open();
});
details.showRaw(look.values.raw);
if (!view.columns.length) view = { ...view, columns: keptColumns() };
if (view.columns.length) keepAddress(toAddress(view));
scroller.measure();
open();
