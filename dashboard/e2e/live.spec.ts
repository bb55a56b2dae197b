import { expect, isLive, numberIn, post, test } from "./fixtures.js";
import { until } from "./server.js";

const row = (id: string) => `[data-consumer="${id}"]`;

test("events move within five seconds of opening the page", async ({ page }) => {
  await page.goto("/");
  await isLive(page);
  const stored = page.getByRole("group", { name: "Stored since start" });
  const title = () => numberIn(stored.locator("[title]").getAttribute("title"));
  const before = await title();
  await expect.poll(title, { timeout: 5_000 }).toBeGreaterThan(before);
  await expect(page.getByRole("region", { name: "Verdict" })).toContainText(/well|Working/);
});

test("an event that is sent is followed until it is stored", async ({ page }) => {
  await page.goto("/send");
  await page.getByRole("button", { name: /Button click/ }).click();
  const sent = page.getByRole("list", { name: "Sent events" }).getByRole("listitem").first();
  await expect(sent).toContainText("stored");
  await sent.getByRole("link").click();
  const detail = page.getByRole("complementary", { name: "Event" });
  await expect(detail).toContainText("checkout_btn");
  await expect(detail.getByRole("list", { name: "The way of the event" })).toContainText("Stored");
  await expect(detail).toContainText("api");
});

test("a message that is not JSON ends as a dead letter, and the page says why", async ({ page }) => {
  await page.goto("/send");
  await page.getByRole("textbox", { name: "Message" }).fill("{this is not json");
  await expect(page.getByRole("button", { name: "Send", exact: true })).toBeDisabled();
  await page.getByLabel(/Send as it stands/).check();
  await page.getByRole("button", { name: "Send", exact: true }).click();
  const sent = page.getByRole("list", { name: "Sent events" }).getByRole("listitem").first();
  await expect(sent).toContainText("dead letter");
  await sent.getByRole("link").click();
  const detail = page.getByRole("complementary", { name: "Event" });
  await expect(detail).toContainText("Why it is a dead letter");
  await expect(detail.getByRole("list", { name: "The way of the event" })).toContainText(/Read by\s*consumer-\d/);
  await expect(detail).toContainText("drover_source");
  await expect(detail.getByRole("region", { name: "Payload" })).toContainText(/this\s+is\s+not\s+json/);
});

test("a burst is sent and counted", async ({ page }) => {
  await page.goto("/send");
  await page.getByLabel("Events", { exact: true }).fill("120");
  await page.getByLabel("Broken, in %").fill("10");
  await page.getByRole("button", { name: "Start" }).click();
  await expect(page.getByText("120 of 120 sent")).toBeVisible();
  await expect(page.getByRole("list", { name: /^Last of/ }).getByText(/stored|dead letter/).first()).toBeVisible();
});

test("a consumer that panics is seen to fall and to come back", async ({ page, server }) => {
  await page.goto("/consumers");
  await isLive(page);
  const one = page.locator(row("consumer-1"));
  await expect(one).toContainText("running");
  const answer = await post(page, server, "drills", { name: "panic-consumer", consumer_id: "consumer-1" });
  expect(answer.status()).toBeLessThan(300);
  await expect(one).toContainText("panicked");
  await expect(one).toContainText("running");
  await expect(one.getByText("1 / ")).toBeVisible();
  await one.getByRole("button", { name: "consumer-1", exact: true }).click();
  await expect(page.getByRole("heading", { name: "Last ends" })).toBeVisible();
});

test("a pause lets the lag grow, and going on lets it fall", async ({ page }) => {
  await page.goto("/consumers");
  await isLive(page);
  const one = page.locator(row("consumer-1"));
  await expect(one).toContainText("running");
  const lag = () => numberIn(one.getByRole("cell").nth(4).getAttribute("title"));
  await one.getByRole("button", { name: "Pause consumer-1" }).click();
  await expect(one).toContainText("paused");
  await expect.poll(lag, { timeout: 30_000 }).toBeGreaterThan(60);
  await one.getByRole("button", { name: "Resume consumer-1" }).click();
  await expect(one).toContainText("running");
  await expect.poll(lag, { timeout: 30_000 }).toBeLessThan(60);
});

test("three consumers become five, and the partitions go round", async ({ page }) => {
  await page.goto("/consumers");
  await isLive(page);
  await expect(page.locator("[data-consumer]")).toHaveCount(3);
  const more = page.getByRole("button", { name: "More consumers" });
  await more.click();
  await more.click();
  await page.getByRole("button", { name: "Scale", exact: true }).click();
  await expect(page.locator("[data-consumer]")).toHaveCount(5);
  await expect(page.locator(row("consumer-5"))).toContainText("running");
  await expect(page.locator(row("consumer-5"))).toContainText("#", { timeout: 60_000 });
});

test("two tabs show the same, and each has a stream of its own", async ({ page, context, server }) => {
  const other = await context.newPage();
  await page.goto("/consumers");
  await other.goto(`${server.url}/consumers`);
  await isLive(page);
  await isLive(other);
  await page.locator(row("consumer-2")).getByRole("button", { name: "Pause consumer-2" }).click();
  await expect(other.locator(row("consumer-2"))).toContainText("paused");
  await other.locator(row("consumer-2")).getByRole("button", { name: "Resume consumer-2" }).click();
  await expect(page.locator(row("consumer-2"))).toContainText("running");
});

test("the feed pauses, counts what is new, and filters by the address", async ({ page }) => {
  await page.goto("/events");
  await isLive(page);
  const feed = page.getByRole("table", { name: "Live feed" });
  await expect(feed.getByRole("row").nth(3)).toBeVisible();
  await page.getByRole("button", { name: "Pause" }).click();
  const first = await feed.getByRole("row").nth(1).textContent();
  await expect(page.getByRole("button", { name: /new$/ })).toBeVisible();
  expect(await feed.getByRole("row").nth(1).textContent()).toBe(first);
  // Who looks at one of them finds the others as they were.
  await feed.getByRole("row").nth(2).click();
  await expect(page.getByRole("complementary", { name: "Event" })).toBeVisible();
  expect(await feed.getByRole("row").nth(1).textContent()).toBe(first);
  await page.keyboard.press("Escape");
  expect(await feed.getByRole("row").nth(1).textContent()).toBe(first);
  await page.getByRole("button", { name: "Go on" }).click();
  await expect.poll(() => feed.getByRole("row").nth(1).textContent()).not.toBe(first);
  await page.getByLabel("Outcome").selectOption("dead_letter");
  await expect(page).toHaveURL(/status=dead_letter/);
  await page.reload();
  await expect(page.getByLabel("Outcome")).toHaveValue("dead_letter");
});

test("events are found by place and by user, with how far the search looked back", async ({ page, server }) => {
  await page.goto("/events/find");
  type Found = { partition: number; offset: number; user_id: string };
  let event: Found = { partition: 0, offset: 0, user_id: "" };
  await until("an event is stored", async () => {
    const answer = await page.request.get(`${server.url}/api/v1/events?limit=5&status=stored`);
    const [first] = ((await answer.json()) as { events: Found[] }).events;
    event = first ?? event;
    return first !== undefined;
  });
  await page.getByLabel("Partition").fill(String(event.partition));
  await page.getByLabel("Offset").fill(String(event.offset));
  await page.getByRole("button", { name: "Find" }).click();
  const detail = page.getByRole("complementary", { name: "Event" });
  await expect(detail).toContainText("stored");
  await page.keyboard.press("Escape");
  await expect(detail).toBeHidden();
  await page.getByRole("button", { name: "User" }).click();
  await page.getByLabel("User").fill(event.user_id);
  await page.getByRole("button", { name: "Find", exact: true }).click();
  await expect(page.getByRole("table", { name: "Found events" })).toContainText(event.user_id);
  await expect(page.getByText(/Looked back|looked at/)).toBeVisible();
});

test("the keyboard leads everywhere, and the theme stays", async ({ page }) => {
  await page.goto("/");
  await isLive(page);
  for (const [key, title] of [["c", "Consumers"], ["e", "Events"], ["s", "Send"], ["o", "Overview"]] as const) {
    await page.keyboard.press("g");
    await page.keyboard.press(key);
    await expect(page.getByRole("heading", { level: 1 })).toHaveText(title);
  }
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog")).toContainText("Go to Consumers");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toBeHidden();
  await page.keyboard.press("t");
  await page.keyboard.press("t");
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await page.reload();
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
});

test.describe("when the connection is lost", () => {
  test.use({ allowed: /Failed to load resource|ERR_CONNECTION|ERR_INCOMPLETE/ });

  test("the page says so, keeps what it shows, and comes back by itself", async ({ page, server }) => {
    await page.goto("/consumers");
    await isLive(page);
    await server.stop();
    await expect(page.locator("[data-phase=reconnecting]")).toBeVisible();
    await expect(page.locator("[data-consumer]")).toHaveCount(3);
    await page.getByRole("link", { name: "Overview", exact: true }).click();
    await expect(page.getByRole("region", { name: "Verdict" })).toContainText("no connection");
    await server.start();
    await expect(page.locator("[data-phase=live]")).toBeVisible({ timeout: 40_000 });
  });
});
