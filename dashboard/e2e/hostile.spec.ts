import { PAGES, expect, isLive, post, test } from "./fixtures.js";
import { isReal, until } from "./server.js";

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
const big = "M".repeat(300_000);
const deep = "[".repeat(4_000) + "]".repeat(4_000);

test.describe("payloads that mean harm", () => {
  test.use({ options: { hostile: true } });

  test("are shown as text on every page, and do nothing", async ({ page, server }) => {
    // Drover gets them through Kafka; the mock invents more of the same by itself.
    const places: string[] = [];
    const values = [
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
    await page.goto(`/events/find?event=${encodeURIComponent(places[4] ?? "")}`);
    await expect(page.getByRole("complementary", { name: "Event" }).getByText("U+202E").first()).toBeVisible();
    if (!isReal) {
      await page.goto("/events?type=evil");
      await expect(page.getByRole("table", { name: "Live feed" }).getByText("U+202E").first()).toBeVisible();
    }
  });
});
