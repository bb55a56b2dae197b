import { describe, expect, it } from "vitest";
import type { ChildStatus, Hold } from "../../api/types";
import { consumer, partition, snapshot } from "../../test/snapshot";
import { verdict } from "./verdict";

const child = (more: Partial<ChildStatus>): ChildStatus => ({
  id: "consumer-1",
  kind: "consumer",
  state: "running",
  since_ms: 1,
  generation: 1,
  restarts: 0,
  budget_left: 5,
  next_start_ms: null,
  last_exit: null,
  ...more,
});
const hold = (kind: Hold["kind"]): Hold => ({ kind, reason: "r", by: "b", since_ms: 1, until_ms: null });

describe("the verdict", () => {
  it("is one good line when everything is well", () => {
    expect(verdict(snapshot())).toEqual({ level: "ok", line: "Everything is well: 2 consumers at work, nothing waits.", reasons: [] });
    expect(verdict(snapshot({ lag: 5000, lag_seconds: 20, time_to_zero_s: 8 })).line).toBe("Everything is well: 2 consumers at work, 20 s behind, caught up in 8 s.");
  });

  it.each([
    ["an open breaker", { breaker: { open: true, cause: "connection refused", since_ms: 1, next_probe_ms: 2, trips: 1 } }, "connection refused"],
    ["an audit that is not clean", { audit: { finished_at_ms: 1, took_ms: 1, by: "a", full: true, clean: false, offsets: 9, unaccounted: 2, overlapping: 0 } }, "2 offsets"],
    ["a child that failed", { children: [child({ state: "failed" })] }, "consumer-1 failed"],
    ["a stopped partition", { consumers: [consumer("c", { partitions: [partition(3, { stopped: { code: "x", message: "made again", since_ms: 1 } })] })] }, "user_events/3"],
    ["a quarantine", { consumers: [consumer("c", { partitions: [partition(3, { held: hold("quarantined") })] })] }, "1 partition quarantined"],
    ["what readiness says", { readiness: { ready: false, reasons: ["group is missing"] } }, "group is missing"],
  ])("is bad with %s", (_, more, text) => {
    const { level, reasons } = verdict(snapshot(more));
    expect(level).toBe("bad");
    expect(reasons.map((reason) => reason.text).join()).toContain(text);
  });

  it.each([
    ["a child that backs off", { children: [child({ state: "backing_off" })] }, "consumer-1 ended"],
    ["a pause", { consumers: [consumer("c", { held: hold("paused") })] }, "c paused by order"],
    ["a lag that grows", { lag: 9000, lag_seconds: 90, lag_trend_per_s: 50 }, "falling back"],
  ])("warns of %s", (_, more, text) => {
    const { level, reasons } = verdict(snapshot(more));
    expect(level).toBe("warn");
    expect(reasons.map((reason) => reason.text).join()).toContain(text);
  });
});
