import { PAGES, expect, isLive, post, test } from "./fixtures.js";
import { breakSome, until } from "./server.js";

const TEXTS = [
  "<script>window.__harmed = 1</script>",
  '<img src=x onerror="window.__harmed = 1">',
  "'\"></style><svg onload=window.__harmed=1>",
  "javascript:window.__harmed=1//",
  "\u202Eevil gnp.exe\u202C",
  "\u2066left\u2069 \u200F\u200E\u061C",
  "zero\u200Bwidth\uFEFF",
  "\u0007\u001B[31mred\u0085",
  "\u{E0041}\u{E0042} tags",
  "line\nfeeds\r\nand\ttabs",
  "__proto__",
  "{{7*7}} ${7*7}",
];
const big = "M".repeat(950_000);
const deep = "[".repeat(4_000) + "]".repeat(4_000);

test.describe("payloads that mean harm", () => {
  test.use({ options: { hostile: true } });

  test("are shown as text on every page, and do nothing", async ({ page, server }) => {
    // Who looks at the feed sees them come.
    await page.goto("/events");
    await isLive(page);
    // Bytes that no JSON can carry come from the generator, which breaks each event in another way.
    await breakSome(server);
    const places: string[] = [];
    const evil = TEXTS[4] ?? "";
    const values = [
      // Often enough to be among what is most frequent.
      ...Array.from({ length: 40 }, () => JSON.stringify({ user_id: evil, event_type: evil, element_id: evil })),
      ...TEXTS.map((text) => JSON.stringify({ user_id: text, event_type: text, element_id: text, note: text })),
      JSON.stringify({ user_id: "user_big", event_type: "big", element_id: "big", text: big }),
      `{"user_id":"user_deep","event_type":"deep","element_id":"deep","deep":${deep}}`,
      '{"user_id":"user_broken","event_type":"\\ud800","element_id":"x"}',
      "<script>window.__harmed = 1</script>",
      "\u202E{broken",
    ];
    for (const value of values) {
      const answer = await post(page, server, "events", { key: "\u202E<b>key</b>", value });
      // What is too long for the server is refused, which is harmless too.
      if (answer.status() === 413) continue;
      expect(answer.status(), await answer.text()).toBe(202);
      const { topic, partition, offset } = (await answer.json()) as { topic: string; partition: number; offset: number };
      places.push(`${topic}/${partition}/${offset}`);
    }
    const statusOf = async (place: string) => ((await (await page.request.get(`${server.url}/api/v1/events/${place}`)).json()) as { status: string }).status;
    for (const place of places) await until(place, async () => ["stored", "dead_letter"].includes(await statusOf(place)));

    const harmless = async (where: string) => {
      expect(await page.evaluate(() => (window as unknown as { __harmed?: number }).__harmed), where).toBeUndefined();
      expect(await page.locator("#root script, #root img, #root iframe, #root style, #root a[href^='javascript:']").count(), where).toBe(0);
      // Nothing that turns the order of characters or cannot be seen gets to the screen.
      const odd = await page.evaluate(() => /[\u202A-\u202E\u2066-\u2069\u200B\u200E\u200F\uFEFF\u0007\u001B]/.exec(document.body.innerText)?.index ?? -1);
      expect(odd, where).toBe(-1);
      expect(await page.evaluate(() => document.body.innerText.length), where).toBeLessThan(200_000);
    };
    const feed = page.getByRole("table", { name: "Live feed" });
    await page.getByLabel("Type").fill("evil");
    await expect(feed.getByText("U+202E").first()).toBeVisible();
    await harmless("the feed");
    // Each of these shows some of them, which is looked for before it is called harmless.
    const seen = [
      ["/events/queue?source=api", "Newest events"],
      [`/events/find?by=user&user_id=${encodeURIComponent(evil)}`, "Found events"],
      ["/events/statistics", null],
    ] as const;
    for (const [path, table] of seen) {
      await page.goto(path);
      const where = table ? page.getByRole("table", { name: table }) : page.getByRole("main");
      await expect(where.getByText("U+202E").first(), path).toBeVisible();
      await harmless(path);
    }
    for (const path of PAGES) {
      await page.goto(path);
      await isLive(page);
      await harmless(path);
    }
    for (const place of places) {
      await page.goto(`/events/find?event=${encodeURIComponent(place)}`);
      await expect(page.getByRole("complementary", { name: "Event" }).getByText(/^(stored|dead letter)$/)).toBeVisible();
      await harmless(place);
    }
    await page.goto(`/events/find?event=${encodeURIComponent(places[0] ?? "")}`);
    await expect(page.getByRole("complementary", { name: "Event" }).getByText("U+202E").first()).toBeVisible();
  });
});
