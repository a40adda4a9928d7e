/* The look that was chosen. The page loads it before all else, so that it never shows another one. */
import { keptChoices } from "./stored.js";

const MEDIA = { system: "(prefers-color-scheme: dark)", dark: "all", light: "not all" };

/** Show a theme, a density and the lines of a message; choices that are unknown are the default. */
export function applyLook({ theme, density, lines } = {}) {
  document.getElementById("dark").media = MEDIA[theme] ?? MEDIA.system;
  Object.assign(document.documentElement.dataset, { density: density ?? "", lines: lines ?? "" });
}

applyLook(keptChoices());
