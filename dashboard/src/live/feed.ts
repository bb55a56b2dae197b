import type { FeedMessage, FeedRow } from "../api/types";

/** Rows that the page keeps: five minutes at a demo's rate, a few seconds at full drain, under 4 MB. */
export const CAPACITY = 5_000;
/** Trimmed in steps, so that a batch of rows does not move the whole ring. */
const SLACK = 1_000;

/** The list has so many places for rows, and uses them again. More than fit on any screen. */
export const PLACES = 256;
/** From so many rows at once on, nothing that was in sight stays in sight. */
const FLOOD = 200;

/** Rows that can be seen at once, with some to spare. */
const IN_SIGHT = 64;

/**
 * A row with its number in the view; modulo {@link PLACES} it is the row's place in the list. A row keeps its place while
 * it moves down. Where a whole screen is new, numbers are left out, so that the topmost row takes the place of the one
 * before, and so on: then texts change and no element moves.
 */
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
  #ring: FeedRow[] = [];
  #matching: NumberedRow[] = [];
  #filter: FeedFilter = NO_FILTER;
  #received = 0;
  #next = 0;
  #dropped = 0;
  #frozen: readonly NumberedRow[] | null = null;
  #fresh = 0;
  #view: FeedView = { rows: [], fresh: 0, dropped: 0, received: 0, frozen: false };
  readonly #listeners = new Set<() => void>();
  readonly #schedule: (task: () => void) => void;
  #told = true;

  /** `schedule` says when listeners are told: in the browser with the next frame, so that reading rows is no part of it. */
  constructor(schedule: (task: () => void) => void = (task) => task()) {
    this.#schedule = schedule;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly view = (): FeedView => this.#view;

  push(message: FeedMessage): void {
    this.#dropped += message.dropped;
    this.#received += message.rows.length;
    this.#ring.push(...message.rows);
    const matching = message.rows.filter((row) => matches(row, this.#filter));
    if (matching.length >= FLOOD) this.#next += leftOut(matching.length);
    for (const row of matching) this.#matching.push({ n: this.#next++, row });
    if (this.#frozen) this.#fresh += matching.length;
    this.#ring = trim(this.#ring);
    this.#matching = trim(this.#matching);
    this.#publish();
  }

  /** Shows other rows. The same filter again changes nothing, a frozen view least of all. */
  setFilter(filter: FeedFilter): void {
    const lower = { ...filter, type: filter.type.toLowerCase(), user: filter.user.toLowerCase(), element: filter.element.toLowerCase() };
    if (Object.entries(lower).every(([name, value]) => this.#filter[name as keyof FeedFilter] === value)) return;
    this.#filter = lower;
    this.#matching = this.#ring.filter((row) => matches(row, lower)).map((row) => ({ n: this.#next++, row }));
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

  /** Forgets everything, for the next person who logs in. */
  clear(): void {
    this.#ring = [];
    this.#matching = [];
    this.#frozen = null;
    this.#received = this.#dropped = this.#fresh = 0;
    this.#publish();
  }

  #publish(): void {
    this.#view = {
      // A copy of references: a view that somebody holds does not change.
      rows: this.#frozen ?? this.#matching.slice(),
      fresh: this.#fresh,
      dropped: this.#dropped,
      received: this.#received,
      frozen: this.#frozen !== null,
    };
    if (!this.#told) return;
    this.#told = false;
    this.#schedule(() => {
      this.#told = true;
      for (const listener of this.#listeners) listener();
    });
  }
}

/** How many numbers are left out before so many new rows. */
function leftOut(rows: number): number {
  const over = rows % PLACES;
  // With a few more rows than places the first of them would stand where the last before them do, in sight of each other.
  const apart = over > 0 && over < IN_SIGHT ? IN_SIGHT : 0;
  return ((PLACES - over) % PLACES) + apart;
}

function trim<T>(rows: T[]): T[] {
  return rows.length > CAPACITY + SLACK ? rows.slice(rows.length - CAPACITY) : rows;
}
