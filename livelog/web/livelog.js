/* The address to import the client from; its parts are in `client/`. */
export * from "./client/livelog.js";
