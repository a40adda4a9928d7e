/* The types of `livelog.js`; they are declared in `client/`. */
export * from "./client/livelog.js";
