/* The elements of the page, by the class that uses them: the name it gives them → their id. */

const IDS = {
  details: {
    panel: "details",
    title: "title",
    values: "values",
    json: "json",
    raw: "raw",
    link: "copy-link",
    close: "close",
    context: "context",
    copy: "copy-one",
  },
  figures: {
    total: "total",
    empty: "empty",
    unseen: "unseen",
  },
  look: {
    form: "settings",
    rows: "rows",
    zone: "zone",
    histogram: "times",
  },
  controls: {
    form: "controls",
    search: "search",
    types: "types",
    fields: "fields",
    from: "from",
    to: "to",
    filters: "filters",
    more: "more",
    clear: "clear",
  },
  publisher: {
    dialog: "publisher",
    form: "message",
    type: "type",
    fields: "message-fields",
    answer: "answer",
  },
  views: {
    dialog: "views-dialog",
    form: "views-form",
    name: "views-name",
    list: "views-list",
    file: "views-file",
    save: "views-save",
    import: "views-import",
  },
  raster: {
    head: "columns-head",
    log: "log",
    rows: "rows",
    dialog: "columns-dialog",
    form: "columns-form",
    name: "columns-name",
    known: "columns-known",
    none: "columns-none",
    close: "columns-close",
    list: "columns-list",
  },
  login: {
    dialog: "login",
    form: "login-form",
    reason: "login-reason",
    token: "token",
    place: "sign-in-place",
    button: "sign-in",
  },
  account: {
    button: "account",
    dialog: "account-dialog",
    values: "account-values",
    out: "sign-out",
  },
  acts: {
    list: "acts",
    status: "acts-status",
  },
  moderation: {
    dialog: "act",
    form: "act-form",
    title: "act-title",
    quote: "act-quote",
    about: "act-about",
    note: "act-note",
    duration: "act-duration",
    reason: "act-reason",
    reconnect: "act-reconnect",
    submit: "act-submit",
    cancel: "act-cancel",
  },
  redacting: {
    dialog: "redacting",
    form: "redacting-form",
    where: "redacting-where",
    fault: "redacting-fault",
    reason: "redacting-reason",
    state: "redacting-state",
    confirm: "redacting-confirm",
    cancel: "redacting-cancel",
  },
  audit: {
    panel: "audit",
    state: "audit-state",
    kind: "audit-kind",
    audit: "audit-acts",
    auditList: "audit-acts-list",
    blocks: "audit-blocks",
    blocksList: "audit-blocks-list",
    older: "audit-older",
    close: "audit-close",
  },
  presence: {
    panel: "online",
    button: "online-count",
    state: "online-state",
    note: "online-note",
    list: "online-list",
    more: "online-more",
    close: "online-close",
  },
  counts: {
    panel: "counts",
    title: "counts-title",
    values: "counts-values",
    state: "counts-state",
    close: "counts-close",
  },
  connection: {
    text: "connection",
    reconnect: "reconnect",
    light: "light",
  },
  histogram: {
    panel: "histogram",
    canvas: "bars",
    label: "bars-label",
  },
};

export function part(id) {
  return document.getElementById(id);
}

export const parts = Object.fromEntries(
  Object.entries(IDS).map(([user, ids]) => {
    return [user, Object.fromEntries(Object.entries(ids).map(([name, id]) => [name, part(id)]))];
  }),
);
