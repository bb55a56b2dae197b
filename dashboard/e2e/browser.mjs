// The browser that tests, traces and pictures use: Debian's, or another of the PATH.

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The path of a Chromium: the one named in CHROMIUM, else the first of the PATH. */
export function browserPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const places = (process.env.PATH ?? "").split(delimiter);
  const found = ["chromium", "chromium-browser", "google-chrome"].flatMap((name) => places.map((place) => join(place, name))).find((path) => existsSync(path));
  if (!found) throw new Error("no chromium was found: install it (Debian: apt-get install chromium), or name it in CHROMIUM");
  return found;
}
