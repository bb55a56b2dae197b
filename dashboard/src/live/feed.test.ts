import { describe, expect, it, vi } from "vitest";
import type { FeedRow } from "../api/types";
import { CAPACITY, FeedStore, NO_FILTER, PLACES } from "./feed";

const row = (offset: number, more: Partial<FeedRow> = {}): FeedRow => ({
  topic: "t",
  partition: 0,
  offset,
  key: null,
  user_id: "user_1",
  event_type: "click",
  element_id: null,
  occurred_at_ms: 1,
  stored_at_ms: 2,
  consumer_id: "consumer-1",
  source: null,
  status: "stored",
  code: null,
  latency_ms: 1,
  ...more,
});
const rows = (from: number, many: number) => Array.from({ length: many }, (_, at) => row(from + at));
const offsets = (feed: FeedStore) => feed.view().rows.map((one) => one.row.offset);

describe("the feed", () => {
  it("keeps a bounded number of rows and counts those that were not sent", () => {
    const feed = new FeedStore();
    for (let at = 0; at < 40; at += 1) feed.push({ rows: rows(at * 500, 500), dropped: 7 });
    const { rows: kept, received, dropped } = feed.view();
    expect(kept.length).toBeGreaterThanOrEqual(CAPACITY);
    expect(kept.length).toBeLessThanOrEqual(CAPACITY + 1000);
    expect(kept.at(-1)?.row.offset).toBe(19_999);
    expect(received).toBe(20_000);
    expect(dropped).toBe(280);
  });

  it("keeps its rows while it is frozen, whatever comes, and counts what came", () => {
    const feed = new FeedStore();
    feed.push({ rows: rows(0, 3), dropped: 0 });
    feed.freeze();
    for (let at = 0; at < 20; at += 1) feed.push({ rows: rows(3 + at * 500, 500), dropped: 0 });
    expect(offsets(feed)).toEqual([0, 1, 2]);
    expect(feed.view().fresh).toBe(10_000);
    feed.release();
    expect(offsets(feed).at(-1)).toBe(10_002);
    expect(feed.view().fresh).toBe(0);
  });

  it("never gives two rows in sight the same place, and reuses places when all rows are new", () => {
    const feed = new FeedStore();
    const places = () => feed.view().rows.slice(-150).map(({ n }) => n % PLACES);
    let at = 0;
    for (const many of [150, 3, 500, 199, 200, 1, 256, 330, 40]) {
      const top = places().at(-1);
      feed.push({ rows: rows(at, many), dropped: 0 });
      at += many;
      expect(new Set(places()).size, `after ${many}`).toBe(150);
      if (many >= 200) expect(places().at(-1)).toBe(top);
    }
  });

  it("keeps rows that are in sight of each other apart where a batch is little more than the places", () => {
    for (const many of [256, 257, 265, 275, 285, 319, 320, 513]) {
      const feed = new FeedStore();
      feed.push({ rows: rows(0, 150), dropped: 0 });
      feed.push({ rows: rows(150, many), dropped: 0 });
      const places = feed.view().rows.map(({ n }) => n % PLACES);
      for (let from = 0; from + 60 <= places.length; from += 1) expect(new Set(places.slice(from, from + 60)).size, `${many} from ${from}`).toBe(60);
    }
  });

  it("changes nothing for the filter that it has, least of all what was frozen", () => {
    const feed = new FeedStore();
    feed.push({ rows: rows(0, 5), dropped: 0 });
    feed.setFilter({ ...NO_FILTER, type: "CLICK" });
    feed.setFilter(NO_FILTER);
    feed.freeze();
    feed.push({ rows: rows(5, 3), dropped: 0 });
    const before = feed.view();
    expect(before.fresh).toBe(3);
    feed.setFilter({ ...NO_FILTER });
    expect(feed.view()).toBe(before);
  });

  it("leaves a view as it was when more comes", () => {
    const feed = new FeedStore();
    feed.push({ rows: rows(0, 2), dropped: 0 });
    const before = feed.view();
    feed.push({ rows: rows(2, 2), dropped: 0 });
    expect(before.rows).toHaveLength(2);
    expect(feed.view().rows).toHaveLength(4);
  });

  it("tells once a frame, however often rows come", () => {
    const frames: (() => void)[] = [];
    const feed = new FeedStore((task) => frames.push(task));
    const listener = vi.fn();
    feed.subscribe(listener);
    feed.push({ rows: rows(0, 2), dropped: 0 });
    feed.push({ rows: rows(2, 2), dropped: 0 });
    expect(listener).not.toHaveBeenCalled();
    expect(frames).toHaveLength(1);
    frames[0]?.();
    expect(listener).toHaveBeenCalledOnce();
  });

  it("shows what matches, also of what came before", () => {
    const feed = new FeedStore();
    feed.push({ rows: [row(1), row(2, { event_type: "Page_View" }), row(3, { event_type: null, status: "dead_letter" })], dropped: 0 });
    feed.setFilter({ ...NO_FILTER, type: "PAGE" });
    expect(offsets(feed)).toEqual([2]);
    feed.push({ rows: [row(4, { event_type: "page_view" }), row(5)], dropped: 0 });
    expect(offsets(feed)).toEqual([2, 4]);
    feed.setFilter({ ...NO_FILTER, status: "dead_letter" });
    expect(offsets(feed)).toEqual([3]);
    feed.setFilter(NO_FILTER);
    expect(offsets(feed)).toEqual([1, 2, 3, 4, 5]);
  });

  it("tells who listens, until he stops", () => {
    const feed = new FeedStore();
    const listener = vi.fn();
    const stop = feed.subscribe(listener);
    feed.push({ rows: [row(1)], dropped: 0 });
    stop();
    feed.push({ rows: [row(2)], dropped: 0 });
    expect(listener).toHaveBeenCalledOnce();
  });
});
