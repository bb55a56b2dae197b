import { describe, expect, it } from "vitest";
import type { History } from "../api/types";
import { consumer, partition, snapshot } from "../test/snapshot";
import { LiveStore, POINTS, TREND } from "./store";

const at = (now_ms: number, more = {}) => snapshot({ now_ms, ...more });

describe("the live state", () => {
  it("keeps the identity of what did not change", () => {
    const store = new LiveStore();
    store.snapshot(at(1000), "live");
    const before = store.state().snapshot;
    store.snapshot(at(2000, { consumers: [consumer("consumer-1", { stored: 11 }), consumer("consumer-2", { partitions: [partition(1)] })] }), "live");
    const after = store.state().snapshot;
    expect(after?.consumers[0]).not.toBe(before?.consumers[0]);
    expect(after?.consumers[1]).toBe(before?.consumers[1]);
    expect(after?.children).toBe(before?.children);
    expect(after?.totals).toBe(before?.totals);
  });

  it("remembers a bounded time, one point a second, each once", () => {
    const store = new LiveStore();
    for (let n = 1; n <= POINTS + 50; n += 1) store.snapshot(at(n * 1000), "live");
    store.snapshot(at(POINTS * 1000), "live");
    expect(store.state().points).toHaveLength(POINTS);
    expect(store.state().points.at(-1)?.ms).toBe((POINTS + 50) * 1000);
    expect(store.state().trends["consumer-1"]?.rate).toHaveLength(TREND);
  });

  it("takes the state of a child at once", () => {
    const store = new LiveStore();
    const child = { id: "consumer-1", kind: "consumer", state: "running", since_ms: 1, generation: 1, restarts: 0, budget_left: 5, next_start_ms: null, last_exit: null } as const;
    store.snapshot(at(1000, { children: [child] }), "live");
    store.child({ ...child, state: "backing_off", next_start_ms: 5000, budget_left: 4 });
    const { snapshot: after } = store.state();
    expect(after?.children[0]?.state).toBe("backing_off");
    expect(after?.consumers[0]).toMatchObject({ state: "backing_off", next_start_ms: 5000, budget_left: 4, stored: 10 });
    expect(after?.consumers[1]?.state).toBe("running");
  });

  it("puts the past before what it has seen", () => {
    const store = new LiveStore();
    store.snapshot(at(10_000), "live");
    const past: History = {
      step_ms: 1000,
      from_ms: 7_000,
      points: 4,
      series: { stored_per_s: [1, 2, 3, 4], dead_letters_per_s: [0, 0, 0, 0], errors_per_s: [0, 0, 0, 0], lag: [null, 1, 1, 1], lag_seconds: [0, 0, 0, 0] },
      consumers: { "consumer-1": { stored_per_s: [1, 2, 3, 4], lag: [0, 0, 0, 0] } },
    };
    store.seed(past);
    expect(store.state().points.map(({ ms }) => ms)).toEqual([7_000, 8_000, 9_000, 10_000]);
    expect(store.state().trends["consumer-1"]?.rate).toEqual([1, 2, 3, 4]);
    // A tab that was hidden: what it missed is put between, and the newest of its own stays.
    store.snapshot(at(14_000), "live");
    store.seed({ ...past, from_ms: 9_000, points: 5, series: { ...past.series, stored_per_s: [3, 4, 6, 7, 8] }, consumers: { "consumer-1": { stored_per_s: [3, 4, 6, 7, 8], lag: [] } } });
    expect(store.state().points.map(({ ms }) => ms)).toEqual([7_000, 8_000, 9_000, 10_000, 11_000, 12_000, 13_000, 14_000]);
    expect(store.state().trends["consumer-1"]?.rate).toEqual([3, 4, 6, 7, 8, 5]);
  });

  it("lets lines follow the numbers by one frame", () => {
    const frames: (() => void)[] = [];
    const store = new LiveStore((task) => frames.push(task));
    const order: string[] = [];
    store.subscribe(() => order.push("numbers"));
    store.subscribeDrawn(() => order.push("lines"));
    store.snapshot(at(1000), "live");
    frames.shift()?.();
    expect(order).toEqual(["numbers"]);
    expect(store.drawn().snapshot).toBeNull();
    frames.shift()?.();
    expect(order).toEqual(["numbers", "lines"]);
    expect(store.drawn()).toBe(store.state());
  });

  it("forgets consumers that are gone", () => {
    const store = new LiveStore();
    store.snapshot(at(1000), "live");
    store.snapshot(at(2000, { consumers: [consumer("consumer-1")] }), "live");
    expect(Object.keys(store.state().trends)).toEqual(["consumer-1"]);
  });
});
