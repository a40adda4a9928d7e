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
