/* The client as Node.js imports it: version 18 has `crypto`, but not as a global. */
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;

export * from "./livelog.js";
