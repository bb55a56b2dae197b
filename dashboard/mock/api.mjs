// The routes of the mock: the shapes of the real API, over the invented herd.

import { DEEP, HOSTILE } from "./data.mjs";

export class Refusal extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

const limitOf = (query) => Math.min(200, Math.max(1, Number(query.get("limit") ?? 50)));

function events(herd, query) {
  const is = (name, value) => !query.get(name) || query.get(name) === String(value);
  const since = Number(query.get("since_ms") ?? 0);
  const until = Number(query.get("until_ms") ?? Infinity);
  const before = query.has("before") ? Number(query.get("before")) : herd.events.length;
  const found = [];
  let at = Math.min(before, herd.events.length) - 1;
  let looked = 0;
  for (; at >= 0 && found.length < limitOf(query) && looked < 5000; at -= 1, looked += 1) {
    const { row } = herd.events[at];
    const fits = ["topic", "partition", "user_id", "event_type", "element_id", "key", "source", "status"].every((name) => is(name, row[name]));
    if (fits && row.stored_at_ms >= since && row.stored_at_ms <= until) {
      found.push({ ...row, latency_ms: undefined });
    }
  }
  const complete = at < 0;
  return { events: found, next: complete ? null : String(at + 1), looked_back_to_ms: herd.events[Math.max(0, at)]?.row.stored_at_ms ?? null, complete };
}

function payloadOf(herd, { row, payload }) {
  if (payload !== null) return payload;
  if (herd.hostile && row.offset % 3 === 0) return DEEP;
  const { user_id, event_type, element_id, occurred_at_ms } = row;
  return JSON.stringify({ user_id, event_type, element_id, timestamp: new Date(occurred_at_ms).toISOString(), session: { id: "s-8841", pages: [1, 2, 3], big: "X" }, note: herd.hostile ? HOSTILE.slice(0, 8) : undefined }).replace('"X"', "12345678901234567890.10");
}

function event(herd, topic, partition, offset) {
  const log = herd.partitions[partition];
  if (!log || topic !== "user_events") throw new Refusal(404, "not_found", `there is no partition ${topic}/${partition}`);
  const position = { next_offset: log.next, end_offset: log.end, low_offset: 100 };
  const kept = herd.byPlace.get(`${topic}/${partition}/${offset}`);
  const none = (status, detail) => ({ status, event: null, dead_letter: null, position, detail });
  if (offset >= log.end) return none("not_read_yet", `Offset ${offset} is behind the end of the log (${log.end}): no such record has been written yet.`);
  if (offset >= log.next) return none(log.queue?.[0]?.offset === offset ? "being_written" : "not_read_yet", `The consumers are at ${log.next}; ${offset - log.next} records come before it.`);
  if (!kept) return none(offset < 100 ? "expired" : "unknown", "Neither a row nor a dead letter is at this place.");
  const { row } = kept;
  const text = payloadOf(herd, kept);
  const dead = row.status === "dead_letter";
  return {
    status: row.status,
    event: dead ? null : { ...row, payload: text.slice(0, 65_536), payload_truncated: text.length > 65_536, incarnation: 1 },
    dead_letter: dead
      ? {
          code: row.code, message: `the record was refused: ${row.code}`, stage: "decode", attempts: 1, consumer_id: row.consumer_id, incarnation: 1,
          failed_at_ms: row.stored_at_ms, published_at_ms: null, publish_outcome: null, publish_error: null, key: row.key,
          value: text.slice(0, 65_536), value_truncated: text.length > 65_536, value_bytes: text.length, timestamp_ms: row.occurred_at_ms,
          headers: [{ name: "drover_source", value: row.source }],
        }
      : null,
    position,
    detail: dead ? "It could not be stored and is kept as a dead letter." : `Stored by ${row.consumer_id}, once.`,
  };
}

function history(herd, minutes) {
  const step_ms = minutes <= 5 ? 1000 : 12_000;
  const every = step_ms / 1000;
  const all = herd.history.slice(-minutes * 60);
  const groups = [];
  for (let at = 0; at < all.length; at += every) groups.push(all.slice(at, at + every));
  const mean = (name) => groups.map((group) => group.reduce((sum, one) => sum + one[name], 0) / group.length);
  const consumers = Object.fromEntries(
    herd.consumers.map(({ id }, at) => [id, {
      stored_per_s: groups.map((group, n) => (group[0].stored / herd.consumers.length) * (1 + 0.2 * Math.sin(n / 5 + at))),
      lag: groups.map((group) => Math.round(group[0].lag / herd.consumers.length)),
    }]),
  );
  return {
    step_ms, from_ms: all[0]?.ms ?? Date.now(), points: groups.length,
    series: { stored_per_s: mean("stored"), dead_letters_per_s: mean("dead"), errors_per_s: mean("errors"), lag: mean("lag").map(Math.round), lag_seconds: mean("lagSeconds") }, consumers,
  };
}

function statistics(herd, minutes) {
  const count = (name) => {
    const counts = new Map();
    for (const { row } of herd.events) if (row[name] !== null) counts.set(row[name], (counts.get(row[name]) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 20);
  };
  const minute = Math.floor(Date.now() / 60_000);
  const per_minute = Array.from({ length: minutes }, (_, at) => minute - minutes + 1 + at).map((one) => ({
    minute_ms: one * 60_000,
    count: Math.round(herd.history.filter(({ ms }) => Math.floor(ms / 60_000) === one).reduce((sum, { stored }) => sum + stored, 0)),
  }));
  const top = (name) => count(name).map(([text, many], at) => ({ name: text.slice(0, 5000), count: many, error: at > 6 ? 3 : 0 }));
  return {
    totals: { stored: herd.totals.stored, dead_letters: herd.totals.dead_letters },
    by_type: count("event_type").map(([event_type, many]) => ({ event_type: event_type.slice(0, 5000), count: many })),
    per_minute, top_elements: top("element_id"), top_users: top("user_id"), sketch_since_ms: herd.startedMs,
  };
}

function create(herd, { key = null, event: document, value, topic }) {
  if (topic && topic !== "user_events") throw new Refusal(404, "not_found", `there is no topic ${topic}`);
  let parsed = document;
  if (value !== undefined) {
    try {
      parsed = JSON.parse(value);
    } catch {
      parsed = null;
    }
  }
  const good = parsed !== null && typeof parsed === "object" && typeof parsed.event_type === "string" && parsed.should_fail !== true;
  const text = value ?? JSON.stringify(document);
  const record = { user_id: good ? String(parsed.user_id ?? "") : null, event_type: parsed?.event_type ?? null, element_id: parsed?.element_id ?? null, key, source: "api", poison: !good, code: parsed === null ? "not_json" : good ? null : "processor_rejected", payload: text };
  return herd.append(record);
}

function burst(herd, { count, rate_per_s, poison_ratio }) {
  if (!(count >= 1 && count <= 10_000)) throw new Refusal(422, "invalid_parameter", `count is ${count}, and not 1 to 10000`);
  const burst_id = String(herd.bursts.size + 1);
  const state = { count, sent: 0, failed: 0, error: null, done: false, last: [] };
  herd.bursts.set(burst_id, state);
  const timer = setInterval(() => {
    for (let n = Math.min(count - state.sent, Math.ceil(rate_per_s / 10)); n > 0; n -= 1) {
      const poison = Math.random() < poison_ratio;
      const { topic, partition, offset } = create(herd, poison ? { value: "{broken" } : { event: { event_type: "burst", user_id: "burst", element_id: "burst" } });
      state.sent += 1;
      state.last = [{ topic, partition, offset, poison }, ...state.last].slice(0, 20);
    }
    if (state.sent >= count) {
      state.done = true;
      clearInterval(timer);
    }
  }, 100);
  return { burst_id };
}

/** Finds the route and carries it out. Gives status and document. */
export function answer(herd, method, path, query, body) {
  const route = `${method} ${path}`;
  let found;
  const is = (pattern) => (found = pattern.exec(route)) !== null;
  const consumer = (id) => herd.consumer(id) ?? (() => { throw new Refusal(404, "not_found", `there is no consumer ${id}`); })();
  if (is(/^GET history$/)) return [200, history(herd, Math.min(60, Math.max(5, Number(query.get("minutes") ?? 5))))];
  if (is(/^GET snapshot$/)) return [200, herd.snapshot(false)];
  if (is(/^GET events(\/find)?$/)) return [200, events(herd, query)];
  if (is(/^GET events\/burst\/(\d+)$/)) return [200, herd.bursts.get(found[1]) ?? (() => { throw new Refusal(404, "not_found", "there is no such burst"); })()];
  if (is(/^GET events\/([^/]+)\/(\d+)\/(\d+)$/)) return [200, event(herd, decodeURIComponent(found[1]), Number(found[2]), Number(found[3]))];
  if (is(/^POST events$/)) return [202, create(herd, body)];
  if (is(/^POST events\/burst$/)) return [202, burst(herd, body)];
  if (is(/^GET statistics$/)) return [200, statistics(herd, Number(query.get("minutes") ?? 60))];
  if (is(/^GET queue$/)) return [200, { waiting: herd.lag(), being_written: Math.min(herd.lag(), 12), stored: herd.totals.stored, dead_letters: herd.totals.dead_letters, since_ms: herd.startedMs, processing_ms: { mean: 41.2, p95: 96, count: herd.totals.stored } }];
  if (is(/^GET children\/([^/]+)\/exits$/)) return [200, { exits: herd.exits.get(found[1]) ?? [] }];
  if (is(/^POST consumers\/([^/]+)\/(pause|resume)$/)) {
    const one = consumer(found[1]);
    const pausing = found[2] === "pause";
    one.held = pausing ? { scope: "consumer", consumer_id: one.id, replica_id: "demo-1", kind: "paused", reason: "an operator's order", by: "local", since_ms: Date.now(), until_ms: null } : null;
    herd.onCommand({ id: 1, at_ms: Date.now(), actor: "local", action: `consumers.${found[2]}`, target: one.id, outcome: "ok", detail: null });
    return [200, { message: pausing ? `${one.id} is paused` : `${one.id} reads on` }];
  }
  if (is(/^POST children\/([^/]+)\/restart$/)) {
    if (!herd.child(found[1])) throw new Refusal(404, "not_found", `there is no child ${found[1]}`);
    herd.fall(found[1], "requested", "an operator's order", null, 900);
    return [200, { message: `${found[1]} is restarted` }];
  }
  if (is(/^POST scale$/)) {
    if (body.consumers > 200) throw new Refusal(422, "invalid_parameter", `consumers is ${body.consumers}, and not 0 to 200`);
    setTimeout(() => herd.scale(body.consumers, body.writers), 600);
    return [200, { message: `${body.consumers} consumers and ${body.writers} writers` }];
  }
  if (is(/^POST drills$/)) {
    const id = body.consumer_id ?? herd.consumers[0].id;
    herd.fall(id, "panicked", "drill: a panic with records in hand", "src/actors/drills/mod.rs:118", 2500);
    return [202, { number: 1, name: body.name, state: "injecting" }];
  }
  throw new Refusal(404, "not_found", `there is nothing at ${path}`);
}
