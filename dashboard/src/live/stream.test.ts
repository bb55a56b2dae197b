import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { snapshot } from "../test/snapshot";
import { FeedStore } from "./feed";
import { LiveStore } from "./store";
import { Stream } from "./stream";

class FakeSource extends EventTarget {
  static readonly CLOSED = 2;
  static all: FakeSource[] = [];
  readyState = 0;
  readonly url: string;
  constructor(url: string) {
    super();
    this.url = url;
    FakeSource.all.push(this);
  }
  close(): void {
    this.readyState = 2;
  }
  say(name: string, data: unknown): void {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data) }));
  }
  fail(readyState: number): void {
    this.readyState = readyState;
    this.dispatchEvent(new Event("error"));
  }
}

const open = () => FakeSource.all.filter(({ readyState }) => readyState !== 2);
let visibility = "visible";
const look = (to: string) => {
  visibility = to;
  document.dispatchEvent(new Event("visibilitychange"));
};

function make() {
  const ports = { store: new LiveStore(), feed: new FeedStore(), onCommand: vi.fn(), onUnauthorized: vi.fn() };
  const stream = new Stream(ports);
  stream.start();
  return { ...ports, stream };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] });
  FakeSource.all = [];
  visibility = "visible";
  vi.stubGlobal("EventSource", FakeSource);
  vi.spyOn(document, "visibilityState", "get").mockImplementation(() => visibility as DocumentVisibilityState);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("the stream", () => {
  it("is one, without the feed until somebody wants it", () => {
    const { stream } = make();
    expect(open().map(({ url }) => url)).toEqual(["/api/v1/stream?feed=0"]);
    const done = stream.wantFeed();
    stream.wantFeed();
    expect(open().map(({ url }) => url)).toEqual(["/api/v1/stream?feed=1"]);
    done();
    vi.advanceTimersByTime(500);
    expect(open().map(({ url }) => url)).toEqual(["/api/v1/stream?feed=1"]);
    stream.stop();
    expect(open()).toEqual([]);
  });

  it("brings snapshots, rows, states and orders", () => {
    const { stream, store, feed, onCommand } = make();
    open()[0]?.say("snapshot", snapshot());
    open()[0]?.say("feed", { rows: [], dropped: 3 });
    open()[0]?.say("command", {});
    expect(store.state()).toMatchObject({ phase: "live", snapshot: { group: "g" } });
    expect(feed.view().dropped).toBe(3);
    expect(onCommand).toHaveBeenCalledOnce();
    stream.stop();
  });

  it("is closed while nobody looks", () => {
    const { stream, store } = make();
    open()[0]?.say("snapshot", snapshot());
    look("hidden");
    expect(open()).toEqual([]);
    expect(store.state().phase).toBe("hidden");
    look("visible");
    expect(open()).toHaveLength(1);
    stream.stop();
  });

  it("is replaced by questions when it is refused, and asked for again", async () => {
    const asked = vi.fn(() => Promise.resolve(new Response(JSON.stringify(snapshot()), { headers: { "Content-Type": "application/json" } })));
    vi.stubGlobal("fetch", asked);
    const { stream, store } = make();
    open()[0]?.fail(2);
    await vi.advanceTimersByTimeAsync(10);
    expect(asked).toHaveBeenCalledOnce();
    expect(store.state().phase).toBe("polling");
    await vi.advanceTimersByTimeAsync(4_000);
    expect(asked.mock.calls.length).toBeGreaterThanOrEqual(2);
    expect(FakeSource.all).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(15_000);
    expect(FakeSource.all.length).toBeGreaterThan(1);
    stream.stop();
  });

  it("asks when the stream says nothing, and says so when nobody answers", async () => {
    vi.stubGlobal("fetch", vi.fn(() => Promise.reject(new TypeError("no network"))));
    const { stream, store } = make();
    open()[0]?.say("snapshot", snapshot());
    await vi.advanceTimersByTimeAsync(7_000);
    expect(store.state().phase).toBe("reconnecting");
    open()[0]?.say("snapshot", snapshot({ now_ms: 2_000_000 }));
    expect(store.state().phase).toBe("live");
    stream.stop();
  });

  it("tells when the session has ended", async () => {
    vi.stubGlobal("fetch", vi.fn(() => Promise.resolve(new Response(JSON.stringify({ code: "unauthorized", detail: "log in" }), { status: 401 }))));
    const { stream, onUnauthorized } = make();
    open()[0]?.fail(2);
    await vi.advanceTimersByTimeAsync(10);
    expect(onUnauthorized).toHaveBeenCalledOnce();
    stream.stop();
  });
});
