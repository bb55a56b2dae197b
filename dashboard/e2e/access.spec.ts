import { findings } from "./findings.js";
import { expect, isLive, post, test } from "./fixtures.js";

test.describe("with tokens", () => {
  test.use({ options: { token: "operators-secret-token", viewerToken: "viewers-secret-token" }, allowed: /status of 40[13]/ });

  test("nobody is let in with a wrong one; an operator gives orders and leaves", async ({ page, context }) => {
    await page.goto("/consumers");
    await expect(page.getByLabel("Token")).toBeVisible();
    expect(await findings(page)).toEqual([]);
    await page.getByLabel("Token").fill("wrong-wrong-wrong");
    await page.getByRole("button", { name: "Log in" }).click();
    await expect(page.getByRole("alert")).toContainText("not the token");
    await page.getByLabel("Token").fill("operators-secret-token");
    await page.getByRole("button", { name: "Log in" }).click();
    await isLive(page);
    await expect(page.getByText("operator", { exact: true })).toBeVisible();
    await expect(page.getByRole("button", { name: "Pause consumer-1" })).toBeVisible();
    const [cookie] = await context.cookies();
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: "Strict" });
    expect(await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage }))).not.toContain("secret");
    await page.getByRole("button", { name: "Log out" }).click();
    await expect(page.getByLabel("Token")).toBeVisible();
  });

  test("a viewer sees everything and orders nothing", async ({ page, server }) => {
    await page.goto("/consumers");
    await page.getByLabel("Token").fill("viewers-secret-token");
    await page.getByRole("button", { name: "Log in" }).click();
    await isLive(page);
    await expect(page.locator("[data-consumer]").first()).toBeVisible();
    await expect(page.getByText("viewer", { exact: true })).toBeVisible();
    await expect(page.getByRole("button", { name: /^(Pause |Restart [a-z]|Scale$)/ })).toHaveCount(0);
    expect((await post(page, server, "consumers/consumer-1/pause", {})).status()).toBe(403);
  });
});

test.describe("read-only", () => {
  test.use({ options: { readOnly: true } });

  test("the page hides orders, and the server refuses them", async ({ page, server }) => {
    await page.goto("/consumers");
    await isLive(page);
    await expect(page.locator("[data-consumer]").first()).toBeVisible();
    await expect(page.getByText("read-only", { exact: true })).toBeVisible();
    await expect(page.getByRole("button", { name: /^(Pause |Restart [a-z]|Scale$)/ })).toHaveCount(0);
    await page.goto("/send");
    await expect(page.getByText("You cannot send events here")).toBeVisible();
    for (const [path, body] of [["events", { event: { event_type: "x" } }], ["scale", { consumers: 1 }], ["consumers/consumer-1/pause", {}], ["children/consumer-1/restart", {}]] as const) {
      expect((await post(page, server, path, body)).status(), path).toBe(403);
    }
  });
});

test.describe("below a path of a proxy", () => {
  test.use({ options: { basePath: "/tools/drover" } });

  test("every address and every asset is below it", async ({ page }) => {
    await page.goto("/events/statistics");
    await isLive(page);
    await expect(page.getByRole("heading", { name: "Stored per minute" })).toBeVisible();
    await page.getByRole("link", { name: "Send" }).click();
    await expect(page).toHaveURL(/\/tools\/drover\/send$/);
    await page.reload();
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("Send");
  });
});
