import type { FeedMessage, FeedRow } from "../api/types";

/** Rows that the page keeps: five minutes at a demo's rate, a few seconds at full drain, under 4 MB. */
export const CAPACITY = 5_000;
/** Trimmed in steps, so that a batch of rows does not move the whole ring. */
const SLACK = 1_000;

/** A row with its number in the feed, by which the list knows it again. */
export interface NumberedRow {
  n: number;
  row: FeedRow;
}

export interface FeedFilter {
  type: string;
  user: string;
  element: string;
  consumer: string;
  topic: string;
  status: string;
}

export const NO_FILTER: FeedFilter = { type: "", user: "", element: "", consumer: "", topic: "", status: "" };

const holds = (value: string | null, wanted: string) => wanted === "" || (value ?? "").toLowerCase().includes(wanted);

/** Whether a row is asked for. Texts are looked for anywhere and in any case; topic, consumer and status are exact. */
export function matches(row: FeedRow, filter: FeedFilter): boolean {
  return (
    (filter.topic === "" || row.topic === filter.topic) &&
    (filter.consumer === "" || row.consumer_id === filter.consumer) &&
    (filter.status === "" || row.status === filter.status) &&
    holds(row.event_type, filter.type) &&
    holds(row.user_id, filter.user) &&
    holds(row.element_id, filter.element)
  );
}

/** What the list shows: `rows` oldest first. A new object whenever something in it changes. */
export interface FeedView {
  rows: readonly NumberedRow[];
  /** Rows that came since the view was frozen. */
  fresh: number;
  /** Rows that the server committed and did not send since the page was opened. */
  dropped: number;
  /** Rows that came since the page was opened, whatever the filter. */
  received: number;
  frozen: boolean;
}

/**
 * The feed of committed rows, and one view of it. Bound: {@link CAPACITY} rows and {@link SLACK} more.
 *
 * A frozen view keeps its rows, whatever comes; the ring goes on behind it, and how much came is counted.
 */
export class FeedStore {
  #ring: NumberedRow[] = [];
  #matching: NumberedRow[] = [];
  #filter: FeedFilter = NO_FILTER;
  #next = 0;
  #dropped = 0;
  #frozen: readonly NumberedRow[] | null = null;
  #fresh = 0;
  #view: FeedView = { rows: [], fresh: 0, dropped: 0, received: 0, frozen: false };
  readonly #listeners = new Set<() => void>();

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly view = (): FeedView => this.#view;

  push(message: FeedMessage): void {
    this.#dropped += message.dropped;
    for (const row of message.rows) {
      const numbered = { n: this.#next++, row };
      this.#ring.push(numbered);
      if (matches(row, this.#filter)) {
        this.#matching.push(numbered);
        if (this.#frozen) this.#fresh += 1;
      }
    }
    this.#ring = trim(this.#ring);
    this.#matching = trim(this.#matching);
    this.#publish();
  }

  setFilter(filter: FeedFilter): void {
    const lower = { ...filter, type: filter.type.toLowerCase(), user: filter.user.toLowerCase(), element: filter.element.toLowerCase() };
    this.#filter = lower;
    this.#matching = this.#ring.filter(({ row }) => matches(row, lower));
    if (this.#frozen) {
      this.#frozen = [...this.#matching];
      this.#fresh = 0;
    }
    this.#publish();
  }

  freeze(): void {
    if (this.#frozen) return;
    this.#frozen = [...this.#matching];
    this.#fresh = 0;
    this.#publish();
  }

  release(): void {
    if (!this.#frozen) return;
    this.#frozen = null;
    this.#fresh = 0;
    this.#publish();
  }

  #publish(): void {
    this.#view = {
      rows: this.#frozen ?? this.#matching,
      fresh: this.#fresh,
      dropped: this.#dropped,
      received: this.#next,
      frozen: this.#frozen !== null,
    };
    for (const listener of this.#listeners) listener();
  }
}

function trim(rows: NumberedRow[]): NumberedRow[] {
  return rows.length > CAPACITY + SLACK ? rows.slice(rows.length - CAPACITY) : rows;
}
