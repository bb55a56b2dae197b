import { ApiError, apiUrl, get } from "../api/client";
import type { ChildStatus, FeedMessage, Snapshot } from "../api/types";
import type { FeedStore } from "./feed";
import type { LiveStore } from "./store";

/** Silence after which the stream counts as broken; it sends a snapshot each second. */
const SILENCE_MS = 5_000;
const POLL_MS = 2_000;
/** How long the page polls before it asks for the stream again. */
const RETRY_MS = 15_000;

export interface StreamPorts {
  store: LiveStore;
  feed: FeedStore;
  /** An order was carried out, by whomever. */
  onCommand: () => void;
  /** The server no longer knows who this is. */
  onUnauthorized: () => void;
}

/**
 * The one stream of this tab. Closed while nobody looks (the tab is hidden), and replaced by asking every two seconds where
 * it cannot be had: 64 others are here already, or a proxy keeps it back.
 */
export class Stream {
  readonly #ports: StreamPorts;
  #source: EventSource | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  #feedUsers = 0;
  #withFeed = false;
  #lastEventId: string | undefined;
  #heardAt = 0;
  #openedAt = 0;
  #polling: AbortController | null = null;
  #polledAt = -Infinity;
  #running = false;

  constructor(ports: StreamPorts) {
    this.#ports = ports;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    document.addEventListener("visibilitychange", this.#look);
    window.addEventListener("online", this.#retry);
    window.addEventListener("pagehide", this.#leave);
    window.addEventListener("pageshow", this.#look);
    this.#timer = setInterval(this.#watch, 1000);
    this.#look();
  }

  stop(): void {
    this.#running = false;
    clearInterval(this.#timer);
    document.removeEventListener("visibilitychange", this.#look);
    window.removeEventListener("online", this.#retry);
    window.removeEventListener("pagehide", this.#leave);
    window.removeEventListener("pageshow", this.#look);
    this.#close();
  }

  /** Asks for the feed as long as the returned function is not called. */
  wantFeed(): () => void {
    this.#feedUsers += 1;
    this.#adjustFeed();
    return () => {
      this.#feedUsers -= 1;
      // Whoever goes from one page with the feed to another keeps the stream.
      setTimeout(this.#adjustFeed, 200);
    };
  }

  readonly #adjustFeed = (): void => {
    const wanted = this.#feedUsers > 0;
    if (wanted === this.#withFeed) return;
    this.#withFeed = wanted;
    if (this.#source) this.#open();
  };

  readonly #look = (): void => {
    if (!this.#running) return;
    if (document.visibilityState === "hidden") {
      this.#close();
      this.#ports.store.setPhase("hidden");
    } else if (!this.#source) {
      this.#ports.store.setPhase(this.#ports.store.state().snapshot ? "reconnecting" : "connecting");
      this.#open();
    }
  };

  readonly #leave = (): void => this.#close();

  readonly #retry = (): void => {
    if (this.#running && document.visibilityState === "visible") this.#open();
  };

  #close(): void {
    this.#source?.close();
    this.#source = null;
    this.#polling?.abort();
    this.#polling = null;
  }

  #open(): void {
    this.#close();
    this.#openedAt = performance.now();
    this.#heardAt = this.#openedAt;
    // The browser says by itself where it stood only when it is the one that asks again.
    const source = new EventSource(apiUrl("stream", { feed: this.#withFeed ? 1 : 0, last_event_id: this.#lastEventId }));
    this.#source = source;
    const on = (name: string, take: (data: unknown) => void) =>
      source.addEventListener(name, (event: MessageEvent<string>) => {
        if (source !== this.#source) return;
        this.#heardAt = performance.now();
        if (event.lastEventId !== "") this.#lastEventId = event.lastEventId;
        take(JSON.parse(event.data));
      });
    on("snapshot", (data) => this.#ports.store.snapshot(data as Snapshot, "live"));
    on("feed", (data) => this.#ports.feed.push(data as FeedMessage));
    on("state", (data) => this.#ports.store.child(data as ChildStatus));
    on("command", () => this.#ports.onCommand());
    source.addEventListener("error", () => {
      if (source !== this.#source) return;
      // While it is asked for what the stream cannot bring, one more try that fails is no news.
      if (this.#ports.store.state().phase !== "polling") this.#ports.store.setPhase("reconnecting");
      // Closed: it was refused, and the browser will not ask again. The answer to a question says why.
      if (source.readyState === EventSource.CLOSED) {
        this.#heardAt = -Infinity;
        this.#watch();
      }
    });
  }

  /** Each second: a stream that says nothing is replaced by questions, and asked for again from time to time. */
  readonly #watch = (): void => {
    if (!this.#running || document.visibilityState === "hidden") return;
    const at = performance.now();
    if (at - this.#heardAt < SILENCE_MS) return;
    if (at - this.#polledAt >= POLL_MS && !this.#polling) void this.#poll();
    if (at - this.#openedAt >= RETRY_MS) this.#open();
  };

  async #poll(): Promise<void> {
    const asked = new AbortController();
    this.#polling = asked;
    this.#polledAt = performance.now();
    try {
      const snapshot = await get<Snapshot>("snapshot", undefined, asked.signal);
      if (this.#polling === asked) this.#ports.store.snapshot(snapshot, "polling");
    } catch (error) {
      if (this.#polling !== asked) return;
      if (error instanceof ApiError && error.status === 401) this.#ports.onUnauthorized();
      this.#ports.store.setPhase("reconnecting");
    } finally {
      if (this.#polling === asked) this.#polling = null;
    }
  }
}
