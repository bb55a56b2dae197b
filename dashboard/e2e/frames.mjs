// How long frames take under load, from a trace of the browser: 60 consumers, 300 partitions, 2,000 events a second.
//
// node e2e/frames.mjs [SECONDS] [URL]     with the mock, or with the drover at the URL; the figure depends on the machine,
// so no test asserts it.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { browserPath } from "./browser.mjs";

const seconds = Number(process.argv[2] ?? 15);
const url = process.argv[3] ?? "http://127.0.0.1:22310";

const mock = process.argv[3]
  ? null
  : spawn(process.execPath, [fileURLToPath(new URL("../mock/server.mjs", import.meta.url))], {
      env: { ...process.env, MOCK_PORT: "22310", MOCK_CONSUMERS: "60", MOCK_PARTITIONS: "300", MOCK_RATE: "2000" },
      stdio: ["ignore", "pipe", "inherit"],
    });
if (mock) await new Promise((done) => mock.stdout.once("data", done));

const browser = await chromium.launch({ executablePath: browserPath(), args: ["--no-sandbox"] });
const rank = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

for (const path of ["/", "/consumers", "/events"]) {
  const page = await browser.newPage({ viewport: { width: 1920, height: 1080 } });
  await page.goto(url + path);
  await page.locator("[data-phase=live]").waitFor();
  await page.waitForTimeout(3000);
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  await session.send("Tracing.start", { transferMode: "ReportEvents", traceConfig: { includedCategories: ["disabled-by-default-devtools.timeline", "__metadata"] } });
  await page.waitForTimeout(seconds * 1000);
  const done = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
  await session.send("Tracing.end");
  await done;
  // The main thread of the page: the renderer whose thread did the most.
  const busy = new Map();
  for (const { name, dur = 0, pid, tid } of events) if (name === "RunTask") busy.set(`${pid}/${tid}`, (busy.get(`${pid}/${tid}`) ?? 0) + dur);
  const mains = new Set(events.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain").map(({ pid, tid }) => `${pid}/${tid}`));
  const [main] = [...busy].filter(([id]) => mains.has(id)).sort((a, b) => b[1] - a[1])[0] ?? [];
  // Wall time is what a frame waits; processor time is what the page costs, whoever else uses the machine.
  const tasks = events.filter(({ name, pid, tid }) => name === "RunTask" && `${pid}/${tid}` === main);
  const sorted = (pick) => tasks.map((task) => (pick(task) ?? 0) / 1000).sort((a, b) => a - b);
  const wall = sorted(({ dur }) => dur);
  const cpu = sorted(({ tdur }) => tdur);
  const line = (all) => `p50 ${rank(all, 0.5).toFixed(2)}  p99 ${rank(all, 0.99).toFixed(2)}  longest ${(all.at(-1) ?? 0).toFixed(2)} ms, over 16 ms: ${all.filter((one) => one > 16).length}`;
  console.log(`${path}: ${tasks.length} tasks in ${seconds} s, main thread busy ${((wall.reduce((a, b) => a + b, 0) / (seconds * 1000)) * 100).toFixed(1)} %`);
  console.log(`  processor time: ${line(cpu)}`);
  console.log(`  wall time:      ${line(wall)}`);
  await page.close();
}
await browser.close();
mock?.kill();
