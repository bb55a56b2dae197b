import { expect, isLive, test } from "./fixtures.js";

test("the page is light, asks nobody else, and keeps what has a name of its own", async ({ page, server }) => {
  const asked: { url: string; cache: string | undefined }[] = [];
  page.on("response", (response) => void asked.push({ url: response.url(), cache: response.headers()["cache-control"] }));
  await page.goto("/");
  await isLive(page);
  expect(asked.filter(({ url }) => !url.startsWith(server.url))).toEqual([]);
  const assets = asked.filter(({ url }) => url.includes("/assets/"));
  expect(assets.length).toBeGreaterThanOrEqual(2);
  for (const { url, cache } of assets) expect(cache, url).toContain("immutable");
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  console.log(`first contentful paint: ${Math.round(paint ?? -1)} ms`);
});
