// The state of an invented process: consumers that own partitions, store events, fall and come back.

import { ELEMENTS, HOSTILE, TYPES, pick, random, user } from "./data.mjs";

const KEEP = 20_000;
const TOPIC = "user_events";

export class Herd {
  constructor({ consumers, partitions, rate, hostile }) {
    this.rate = rate;
    this.hostile = hostile;
    this.startedMs = Date.now() - 3_725_000;
    this.partitions = Array.from({ length: partitions }, (_, partition) => {
      const next = 40_000 + Math.floor(random() * 90_000);
      return { partition, next, end: next, storedAtMs: Date.now() };
    });
    this.consumers = [];
    this.children = [];
    this.events = [];
    this.byPlace = new Map();
    this.history = [];
    this.bursts = new Map();
    this.exits = new Map();
    this.totals = { consumed: 1_204_331, stored: 1_203_902, dead_letters: 412, duplicates: 17, errors: 3, restarts: 0 };
    this.second = { stored: 0, dead: 0 };
    this.onRows = () => {};
    this.onState = () => {};
    this.onCommand = () => {};
    for (let n = 1; n <= 2; n += 1) this.#child(`writer-${n}`, "db_writer");
    for (const [id, kind] of [["dead-letter", "dead_letter"], ["metrics", "metrics"], ["audit", "audit"], ["replica", "replica"]]) this.#child(id, kind);
    this.scale(consumers, 2);
    this.#past();
    for (const child of this.children) child.since_ms = this.startedMs + Math.floor(random() * 4000);
  }

  #child(id, kind) {
    const child = { id, kind, state: "running", since_ms: Date.now(), generation: 1, restarts: 0, budget_left: 5, next_start_ms: null, last_exit: null };
    this.children.push(child);
    return child;
  }

  child(id) {
    return this.children.find((one) => one.id === id);
  }

  consumer(id) {
    return this.consumers.find((one) => one.id === id);
  }

  scale(consumers, writers) {
    if (consumers != null) {
      while (this.consumers.length > consumers) {
        const { id } = this.consumers.pop();
        this.children = this.children.filter((child) => child.id !== id);
      }
      while (this.consumers.length < consumers) {
        const id = `consumer-${this.consumers.length + 1}`;
        this.#child(id, "consumer");
        this.consumers.push({ id, stored: 0, dead_letters: 0, duplicates: 0, errors: 0, rate: 0, held: null });
      }
      for (const [at, one] of this.partitions.entries()) one.owner = this.consumers[at % Math.max(1, consumers)]?.id ?? null;
    }
    if (writers != null) {
      const have = this.children.filter(({ kind }) => kind === "db_writer").length;
      for (let n = have + 1; n <= writers; n += 1) this.#child(`writer-${n}`, "db_writer");
      for (let n = have; n > writers; n -= 1) this.children = this.children.filter(({ id }) => id !== `writer-${n}`);
    }
    this.onCommand({ action: "scale" });
  }

  /** A consumer ends and comes back after a while. */
  fall(id, reason, message, location, waitMs) {
    const child = this.child(id);
    const exit = { reason, message, location, at_ms: Date.now(), generation: child.generation };
    this.exits.set(id, [exit, ...(this.exits.get(id) ?? [])].slice(0, 20));
    Object.assign(child, { state: "backing_off", since_ms: Date.now(), last_exit: exit, budget_left: Math.max(0, child.budget_left - 1), next_start_ms: Date.now() + waitMs });
    this.totals.errors += reason === "requested" ? 0 : 1;
    const consumer = this.consumer(id);
    if (consumer && reason !== "requested") consumer.errors += 1;
    this.onState(child);
    setTimeout(() => {
      Object.assign(child, { state: "starting", since_ms: Date.now(), next_start_ms: null, generation: child.generation + 1, restarts: child.restarts + 1 });
      this.totals.restarts += 1;
      this.onState(child);
      setTimeout(() => {
        Object.assign(child, { state: "running", since_ms: Date.now() });
        this.onState(child);
      }, 400).unref();
    }, waitMs).unref();
  }

  /** A record arrives in Kafka. */
  append(record, partition = Math.floor(random() * this.partitions.length)) {
    const log = this.partitions[partition];
    const offset = log.end;
    log.end += 1;
    (log.queue ??= []).push({ offset, record, atMs: Date.now() });
    return { topic: TOPIC, partition, offset, source: record.source ?? null };
  }

  #invent() {
    const evil = this.hostile && random() < 0.5;
    const text = (good) => (evil ? pick(HOSTILE) : good);
    const poison = random() < 0.01;
    const user_id = text(user());
    return { user_id, event_type: text(pick(TYPES)), element_id: text(pick(ELEMENTS)), key: user_id, source: random() < 0.9 ? "producer" : "api", poison, code: poison ? pick(["not_json", "missing_field", "bad_timestamp"]) : null };
  }

  /** Ten times a second: events come, consumers store. */
  tick(ms) {
    this.carry = (this.carry ?? 0) + (this.rate * ms) / 1000;
    for (; this.carry >= 1; this.carry -= 1) this.append(this.#invent());
    const rows = [];
    const counts = new Map();
    for (const log of this.partitions) {
      const consumer = this.consumer(log.owner);
      const child = consumer && this.child(consumer.id);
      if (!log.queue?.length || !consumer || child.state !== "running" || consumer.held || log.held) continue;
      // What was sent stays for one tick, so that it can be seen on its way.
      const due = log.queue.filter(({ atMs }) => atMs < Date.now() - 60);
      log.queue = log.queue.slice(due.length);
      for (const { offset, record, atMs } of due) {
        const row = this.#store(log, offset, record, atMs, consumer);
        rows.push(row);
        counts.set(consumer, (counts.get(consumer) ?? 0) + 1);
      }
    }
    for (const consumer of this.consumers) consumer.rate = consumer.rate * 0.9 + (counts.get(consumer) ?? 0) * (1000 / ms) * 0.1;
    if (rows.length > 0) this.onRows(rows);
  }

  #store(log, offset, record, atMs, consumer) {
    const { user_id, event_type, element_id, key, source, poison, code } = record;
    const status = poison ? "dead_letter" : "stored";
    const stored_at_ms = Date.now();
    const row = {
      topic: TOPIC, partition: log.partition, offset, key: key ?? null, user_id: user_id ?? null, event_type: event_type ?? null, element_id: element_id ?? null,
      occurred_at_ms: atMs - 3, stored_at_ms, consumer_id: consumer.id, source: source ?? null, status, code: poison ? code ?? "processor_rejected" : null, latency_ms: stored_at_ms - atMs + 3,
    };
    const place = `${row.topic}/${row.partition}/${row.offset}`;
    this.events.push({ row, payload: record.payload ?? null });
    this.byPlace.set(place, this.events.at(-1));
    if (this.events.length > KEEP) {
      for (const { row: old } of this.events.splice(0, 2000)) this.byPlace.delete(`${old.topic}/${old.partition}/${old.offset}`);
    }
    log.next = offset + 1;
    log.storedAtMs = stored_at_ms;
    consumer[poison ? "dead_letters" : "stored"] += 1;
    this.totals.consumed += 1;
    this.totals[poison ? "dead_letters" : "stored"] += 1;
    this.second[poison ? "dead" : "stored"] += 1;
    return row;
  }

  #past() {
    const now = Math.floor(Date.now() / 1000) * 1000;
    for (let at = 3600; at > 0; at -= 1) {
      const wave = this.rate * (1 + 0.25 * Math.sin(at / 70) + 0.12 * Math.sin(at / 13)) + (random() - 0.5) * this.rate * 0.1;
      const outage = at < 190 && at > 165;
      const drain = at <= 165 && at > 140;
      const stored = outage ? 0 : drain ? wave * 2 : wave;
      const lag = outage ? (190 - at) * this.rate : drain ? (at - 140) * this.rate : random() * this.rate * 0.2;
      this.history.push({ ms: now - at * 1000, stored, dead: stored * 0.01, errors: outage && at % 9 === 0 ? 1 : 0, lag: Math.round(lag), lagSeconds: lag / this.rate });
    }
  }

  lag() {
    return this.partitions.reduce((sum, log) => sum + (log.end - log.next), 0);
  }

  lagSecondsOf(log) {
    const first = log.queue?.[0];
    return first ? (Date.now() - first.atMs) / 1000 : 0;
  }

  /** Once a second: what the stream sends. */
  snapshot(writeDown) {
    const now_ms = Date.now();
    const lag = this.lag();
    const lagSeconds = Math.max(0, ...this.partitions.map((log) => this.lagSecondsOf(log)));
    if (writeDown) {
      this.history.push({ ms: now_ms, stored: this.second.stored, dead: this.second.dead, errors: 0, lag, lagSeconds });
      if (this.history.length > 3700) this.history.shift();
      this.rates = { ...this.second };
      this.second = { stored: 0, dead: 0 };
    }
    const { stored = 0, dead = 0 } = this.rates ?? {};
    const before = this.history.at(-6)?.lag ?? lag;
    const trend = (lag - before) / 5;
    const consumers = this.consumers.map((consumer) => {
      const { state, since_ms, restarts, budget_left, next_start_ms, generation, last_exit } = this.child(consumer.id);
      const own = this.partitions.filter((log) => log.owner === consumer.id && state === "running");
      const partitions = own.map((log) => ({
        topic: TOPIC, partition: log.partition, next_offset: log.next, end_offset: log.end, lag: log.end - log.next, lag_seconds: this.lagSecondsOf(log), stopped: log.stopped ?? null, held: log.held ?? null,
      }));
      return {
        id: consumer.id, state, since_ms, restarts, budget_left, next_start_ms, generation, stored: consumer.stored, dead_letters: consumer.dead_letters, duplicates: consumer.duplicates, errors: consumer.errors,
        stored_per_s: consumer.rate < 0.05 ? 0 : consumer.rate, lag: partitions.reduce((sum, one) => sum + one.lag, 0), lag_seconds: Math.max(0, ...partitions.map((one) => one.lag_seconds)), held: consumer.held, last_exit, partitions,
      };
    });
    const writers = this.children.filter(({ kind }) => kind === "db_writer").length;
    const failed = this.children.filter(({ state }) => state === "failed");
    return {
      now_ms, version: "0.1.0", replica_id: "demo-1", group: "dashboard_consumer_group", topics: [TOPIC], store: "sqlite", started_at_ms: this.startedMs, draining: false,
      readiness: { ready: failed.length === 0, reasons: failed.map(({ id }) => `${id} has failed`) },
      breaker: { open: false, cause: null, since_ms: null, next_probe_ms: null, trips: 0 },
      audit: { finished_at_ms: now_ms - 95_000 - (now_ms % 60_000), took_ms: 412, by: "demo-1", full: false, clean: true, offsets: this.totals.stored, unaccounted: 0, overlapping: 0, partitions: [] },
      replicas: 1, totals: { ...this.totals }, rates: { consumed_per_s: stored + dead, stored_per_s: stored, dead_letters_per_s: dead, errors_per_s: 0, bytes_per_s: stored * 214 },
      lag, lag_seconds: lagSeconds, lag_trend_per_s: trend, time_to_zero_s: trend < -1 ? lag / -trend : lag < this.rate ? 0 : null,
      limiting_stage: this.consumers.some(({ held }) => held) ? "held" : this.rate > 1000 ? "write" : "idle", writers: { busy: stored > 0 ? 1 : 0, count: writers }, memory: { used_bytes: 48_300_000 + lag * 200, limit_bytes: 536_870_912 },
      consumers, children: this.children, stream: { clients: 1, dropped: 0 },
    };
  }
}
