/** Whether this page is one of several side by side, in a frame of the page that has them. */
export const isPane = Boolean(globalThis.parent) && parent !== globalThis;
