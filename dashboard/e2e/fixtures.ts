// What every test has: a server of its own, a page at it, and the promise that nothing was refused and nothing broke.

import { expect, test as base, type Page } from "@playwright/test";
import { serve, type Options, type Server } from "./server.js";

interface Fixtures {
  /** How the server is started. */
  options: Options;
  server: Server;
  /** What the console may say, for tests that break something on purpose. */
  allowed: RegExp | null;
}

interface Violation {
  directive: string;
  uri: string;
}

export const test = base.extend<Fixtures>({
  options: [{}, { option: true }],
  allowed: [null, { option: true }],
  server: async ({ options }, use) => {
    const server = await serve(options);
    await use(server);
    await (server as Server & AsyncDisposable)[Symbol.asyncDispose]();
  },
  // It needs the server, so that its pages are closed before the server goes.
  context: async ({ context, allowed, server: _ }, use) => {
    const said: string[] = [];
    const watch = (page: Page) => {
      page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) said.push(`${message.type()}: ${message.text()}`);
      });
      page.on("pageerror", (error) => said.push(`page error: ${error.message}`));
      page.on("dialog", (dialog) => {
        said.push(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
      });
    };
    context.on("page", watch);
    await context.exposeFunction("reportViolation", ({ directive, uri }: Violation) => said.push(`policy: ${directive} ${uri}`));
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
        void (window as unknown as { reportViolation: (one: Violation) => void }).reportViolation({ directive: effectiveDirective, uri: blockedURI });
      });
    });
    await use(context);
    for (const page of context.pages()) await page.close();
    expect(said.filter((one) => !allowed?.test(one))).toEqual([]);
  },
  page: async ({ page, server }, use) => {
    // Addresses of tests are relative to the server.
    const go = page.goto.bind(page);
    page.goto = (path, more) => go(server.url + path, more);
    await use(page);
  },
});

export { expect };

export const PAGES = ["/", "/consumers", "/events", "/events/find", "/events/statistics", "/events/queue", "/send"] as const;

/** Waits until the page shows what comes from the stream. */
export async function isLive(page: Page): Promise<void> {
  await expect(page.locator("[data-phase=live]")).toBeVisible();
}

/** A number of the page, without its commas. */
export async function numberIn(text: Promise<string | null>): Promise<number> {
  const digits = ((await text) ?? "").replace(/[^\d.k]/g, "");
  return digits.endsWith("k") ? Number.parseFloat(digits) * 1000 : Number.parseFloat(digits);
}

/** An order or a message that a person gives past the page. */
export function post(page: Page, server: Server, path: string, data: unknown) {
  return page.request.post(`${server.url}/api/v1/${path}`, { data, headers: { "X-Drover-Request": "1" } });
}
