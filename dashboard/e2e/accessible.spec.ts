import { findings } from "./findings.js";
import { PAGES, expect, isLive, test } from "./fixtures.js";

for (const colorScheme of ["light", "dark"] as const) {
  for (const [name, viewport] of [["wide", { width: 1440, height: 900 }], ["narrow", { width: 360, height: 740 }]] as const) {
    test.describe(`${colorScheme} and ${name}`, () => {
      test.use({ colorScheme, viewport, reducedMotion: "reduce" } as object);

      test("axe finds nothing on any page, and none is wider than the screen", async ({ page }) => {
        for (const path of PAGES) {
          await page.goto(path);
          await isLive(page);
          await expect(page.locator("main [class*=_loading_], main .loading")).toHaveCount(0);
          expect(await findings(page), path).toEqual([]);
          expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth), path).toBeLessThanOrEqual(0);
        }
        await page.goto("/consumers?open=consumer-1");
        await expect(page.getByRole("heading", { name: "Last ends" })).toBeVisible();
        expect(await findings(page), "an open consumer").toEqual([]);
        await page.goto("/events/queue");
        await page.getByRole("button", { name: /^Open / }).first().click();
        await expect(page.getByRole("list", { name: "The way of the event" })).toBeVisible();
        expect(await findings(page), "an open event").toEqual([]);
        await page.goto("/nowhere");
        await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
        expect(await findings(page), "a page that is not there").toEqual([]);
        await page.goto("/events/find?by=user&user_id=nobody");
        await expect(page.getByText("Nothing found")).toBeVisible();
        expect(await findings(page), "nothing found").toEqual([]);
        await page.keyboard.press("?");
        await expect(page.getByRole("dialog")).toBeVisible();
        expect(await findings(page), "the list of keys").toEqual([]);
      });
    });
  }
}
