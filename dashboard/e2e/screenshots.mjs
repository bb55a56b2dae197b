// Pictures of every page for docs/screenshots: light, dark and 360 px wide, as small WebP files.
//
// node e2e/screenshots.mjs URL [DIRECTORY]     of a drover that runs, best a `drover demo` of some minutes.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { browserPath } from "./browser.mjs";

const [url, directory = fileURLToPath(new URL("../../docs/screenshots", import.meta.url))] = process.argv.slice(2);
if (!url) throw new Error("usage: node e2e/screenshots.mjs URL [DIRECTORY]");

const { events } = await (await fetch(`${url}/api/v1/events?limit=1&status=stored`)).json();
if (!events[0]) throw new Error(`${url} has stored nothing yet`);
const { topic, partition, offset } = events[0];

const PAGES = {
  overview: "/",
  consumers: "/consumers?open=consumer-1",
  events: "/events",
  "event-detail": `/events/find?event=${encodeURIComponent(`${topic}/${partition}/${offset}`)}`,
  statistics: "/events/statistics",
  queue: "/events/queue",
  send: "/send",
};
const LOOKS = {
  light: { viewport: { width: 1280, height: 800 }, colorScheme: "light" },
  dark: { viewport: { width: 1280, height: 800 }, colorScheme: "dark" },
  narrow: { viewport: { width: 360, height: 740 }, colorScheme: "light" },
};

/** A picture as WebP, by the browser itself: no other tool is needed. */
async function webp(page, png) {
  const encoded = await page.evaluate(async (base64) => {
    const image = new Image();
    image.src = `data:image/png;base64,${base64}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", 0.7);
  }, png.toString("base64"));
  return Buffer.from(encoded.slice(encoded.indexOf(",") + 1), "base64");
}

mkdirSync(directory, { recursive: true });
const browser = await chromium.launch({ executablePath: browserPath(), args: ["--no-sandbox"] });
// The policy of drover's own page refuses data: images, rightly.
const converter = await browser.newPage();
for (const [look, options] of Object.entries(LOOKS)) {
  const context = await browser.newContext({ ...options, reducedMotion: "reduce" });
  for (const [name, path] of Object.entries(PAGES)) {
    const page = await context.newPage();
    await page.goto(url + path);
    await page.locator("[data-phase=live]").waitFor();
    if (name === "send") {
      for (const button of ["Button click", "Slow event", "Failing event"]) await page.getByRole("button", { name: button }).click();
      await page.getByRole("list", { name: "Sent events" }).getByText(/stored|dead letter/).first().waitFor();
    }
    // Charts and sparklines get some points.
    await page.waitForTimeout(3_000);
    const picture = await webp(converter, await page.screenshot());
    writeFileSync(join(directory, `${name}-${look}.webp`), picture);
    console.log(`${name}-${look}.webp ${(picture.length / 1024).toFixed(0)} KB`);
    await page.close();
  }
  await context.close();
}
await browser.close();
