import { defineConfig } from "@playwright/test";
import { browserPath } from "./browser.mjs";

// One browser and one server at a time: each test starts its own drover.
export default defineConfig({
  testDir: ".",
  outputDir: ".out",
  workers: 1,
  timeout: 180_000,
  expect: { timeout: 20_000 },
  forbidOnly: true,
  reporter: [["list"]],
  use: {
    browserName: "chromium",
    viewport: { width: 1440, height: 900 },
    launchOptions: { executablePath: browserPath(), args: ["--no-sandbox"] },
    trace: "retain-on-failure",
  },
});
