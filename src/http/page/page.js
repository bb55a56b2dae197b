// The status page: asks for /api/v1/status each second and shows it. Everything from the server is set as text.

const PERIOD_MS = 1000;
const TIMEOUT_MS = 5000;
const POINTS = 60;

const TONES = {
  running: "good",
  starting: "warn",
  rebalancing: "warn",
  backing_off: "warn",
  draining: "warn",
  paused: "idle",
  stopped: "idle",
  failed: "bad",
};

const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
const number = (value) => (value === null || value === undefined ? "–" : whole.format(value));
// Where there is little room, millions are told as such; the title tells the rest.
const brief = (value) => (value === null || value === undefined ? "–" : value < 100000 ? whole.format(value) : short.format(value));
const words = (name) => name.replaceAll("_", " ");

function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Rates are what changed between two answers; a process that started anew begins again.
const history = { startedAt: null, uptime: 0, counts: new Map(), rates: new Map() };

function measure(status) {
  if (history.startedAt !== status.started_at_ms) {
    history.startedAt = status.started_at_ms;
    history.counts.clear();
    history.rates.clear();
  }
  const seconds = (status.uptime_ms - history.uptime) / 1000;
  history.uptime = status.uptime_ms;
  let sum = 0;
  for (const consumer of status.consumers) {
    const count = consumer.stored + consumer.duplicates + consumer.dead_letters;
    const before = history.counts.get(consumer.id);
    history.counts.set(consumer.id, count);
    if (before === undefined || seconds <= 0) continue;
    const rate = Math.max(0, count - before) / seconds;
    sum += rate;
    remember(consumer.id, rate);
  }
  if (history.rates.size > 0 && seconds > 0) remember("", sum);
}

function remember(id, rate) {
  const rates = history.rates.get(id) ?? [];
  rates.push(rate);
  if (rates.length > POINTS) rates.shift();
  history.rates.set(id, rates);
}

const rateOf = (id) => history.rates.get(id)?.at(-1);

function drawLine(path, rates) {
  if (!rates || rates.length < 2) {
    path.setAttribute("d", "");
    return;
  }
  const top = Math.max(...rates, 1);
  const points = rates.map((rate, i) => {
    const x = 120 - (rates.length - 1 - i) * (120 / (POINTS - 1));
    return `${x.toFixed(1)} ${(26 - (rate / top) * 24).toFixed(1)}`;
  });
  path.setAttribute("d", `M${points.join("L")}`);
}

// A table whose rows stay in place while their text changes, so that a selection survives an update.
class Table {
  constructor(id, columns) {
    this.columns = columns;
    this.rows = new Map();
    const table = byId(id);
    const head = table.createTHead().insertRow();
    for (const column of columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = column.label;
      if (column.number) cell.className = "number";
      head.append(cell);
    }
    this.body = table.createTBody();
  }

  show(items, key) {
    const seen = new Set();
    items.forEach((item, at) => {
      const id = key(item);
      seen.add(id);
      let row = this.rows.get(id);
      if (!row) {
        row = this.newRow();
        this.rows.set(id, row);
      }
      if (this.body.rows[at] !== row) this.body.insertBefore(row, this.body.rows[at] ?? null);
      this.columns.forEach((column, i) => column.fill(row.cells[i].firstChild, item, row.cells[i]));
    });
    for (const [id, row] of this.rows) {
      if (seen.has(id)) continue;
      row.remove();
      this.rows.delete(id);
    }
  }

  newRow() {
    const row = document.createElement("tr");
    this.columns.forEach((column, i) => {
      const cell = document.createElement(i === 0 ? "th" : "td");
      if (i === 0) cell.scope = "row";
      else cell.dataset.label = column.label;
      if (column.number) cell.classList.add("number");
      if (column.wide) cell.classList.add("wide");
      if (column.short) cell.classList.add("short");
      cell.append(document.createElement("div"));
      row.append(cell);
    });
    return row;
  }
}

const textColumn = (label, text, more = {}) => ({
  label,
  ...more,
  fill: (node, item, cell) => {
    const value = text(item) ?? "";
    setText(node, value);
    cell.classList.toggle("blank", value === "");
    if (more.tone) {
      const tone = more.tone(item);
      cell.classList.toggle("toned", Boolean(tone));
      if (tone) cell.dataset.tone = tone;
    }
  },
});
const numberColumn = (label, value, more = {}) => textColumn(label, (item) => number(value(item)), { number: true, ...more });

const stateColumn = (label, state, note, more = {}) => ({
  label,
  short: true,
  ...more,
  fill: (node, item) => {
    if (!node.firstChild) {
      const word = document.createElement("span");
      word.className = "state";
      const sub = document.createElement("span");
      sub.className = "sub";
      node.append(word, sub);
    }
    const { name, tone } = state(item);
    setText(node.firstChild, words(name));
    node.firstChild.dataset.tone = tone;
    setText(node.lastChild, note(item) ?? "");
  },
});

const lineColumn = (label, id) => ({
  label,
  fill: (node, item) => {
    if (!node.firstChild) {
      const svg = byId("sum-line").cloneNode(true);
      svg.removeAttribute("id");
      node.append(svg);
    }
    drawLine(node.firstChild.firstElementChild, history.rates.get(id(item)));
  },
});

const childState = (item) => ({ name: item.state ?? "unknown", tone: TONES[item.state] ?? "idle" });
const bad = (value) => (value > 0 ? "bad" : null);

let now = 0;
const ago = (ms) => `${span(now - ms)} ago`;

function exitText(exit) {
  if (!exit) return "";
  const place = exit.location ? ` at ${exit.location}` : "";
  return `${words(exit.reason)}: ${exit.message}${place}, ${ago(exit.at_ms)}`;
}

function ownedText(consumer) {
  const topics = new Map();
  for (const owned of consumer.partitions) {
    topics.set(owned.topic, [...(topics.get(owned.topic) ?? []), owned.partition]);
  }
  return [...topics].map(([topic, list]) => `${topic} ${list.sort((a, b) => a - b).join(", ")}`).join("; ");
}

const consumers = new Table("consumers", [
  textColumn("Consumer", (c) => c.id),
  stateColumn("State", childState, (c) => (c.since_ms ? `for ${span(now - c.since_ms)}` : "")),
  numberColumn("Records/s", (c) => rateOf(c.id)),
  lineColumn("Last minute", (c) => c.id),
  numberColumn("Lag", (c) => c.lag),
  numberColumn("Stored", (c) => c.stored),
  numberColumn("Dead letters", (c) => c.dead_letters, { tone: (c) => bad(c.dead_letters) }),
  numberColumn("Duplicates", (c) => c.duplicates),
  numberColumn("Restarts", (c) => c.restarts, { tone: (c) => (c.restarts > 0 ? "warn" : null) }),
  textColumn("Partitions", (c) => ownedText(c) || "none", { wide: true }),
]);

const partitions = new Table("partitions", [
  textColumn("Partition", (p) => `${p.topic} ${p.partition}`),
  textColumn("Consumer", (p) => p.consumer),
  stateColumn(
    "State",
    (p) => (p.stopped ? { name: "stopped", tone: "bad" } : { name: "owned", tone: "good" }),
    (p) => (p.stopped ? `${p.stopped.code} for ${span(now - p.stopped.since_ms)}: ${p.stopped.message}` : ""),
    { short: false, wide: true },
  ),
  numberColumn("Next offset", (p) => p.next_offset),
  numberColumn("End offset", (p) => p.end_offset),
  numberColumn("Lag", (p) => p.lag),
]);

const children = new Table("children", [
  textColumn("Child", (c) => c.id),
  textColumn("Kind", (c) => words(c.kind), { short: true }),
  stateColumn("State", childState, (c) =>
    c.next_start_ms ? `starts again in ${span(c.next_start_ms - now)}` : `for ${span(now - c.since_ms)}`,
  ),
  numberColumn("Restarts", (c) => c.restarts, { tone: (c) => (c.restarts > 0 ? "warn" : null) }),
  numberColumn("Restarts left", (c) => c.budget_left, { tone: (c) => (c.budget_left === 0 ? "bad" : null) }),
  textColumn("Last end", (c) => exitText(c.last_exit), { wide: true }),
]);

function showIdentity(status) {
  const facts = [
    ["Group", status.group],
    ["Topics", status.topics.join(", ")],
    ["Replica", status.replica_id],
    ["Up", span(status.uptime_ms)],
    ["Version", status.version],
  ];
  const list = byId("identity");
  facts.forEach(([name, value], i) => {
    let pair = list.children[i];
    if (!pair) {
      pair = document.createElement("div");
      pair.append(document.createElement("dt"), document.createElement("dd"));
      list.append(pair);
    }
    setText(pair.firstChild, name);
    setText(pair.lastChild, value);
  });
}

function showReadiness(word, tone, reasons) {
  byId("readiness").dataset.tone = tone;
  setText(byId("readiness-word"), word);
  const list = byId("reasons");
  // Unchanged text is left alone, or screen readers would read it out each second.
  if (list.dataset.shown === JSON.stringify(reasons)) return;
  list.dataset.shown = JSON.stringify(reasons);
  list.replaceChildren(
    ...reasons.map((reason) => {
      const item = document.createElement("li");
      item.textContent = reason;
      return item;
    }),
  );
}

function showSum(id, value, tone) {
  const node = byId(id);
  setText(node, brief(value));
  node.title = number(value);
  if (tone) node.dataset.tone = tone;
  else delete node.dataset.tone;
}

function showBreaker(status) {
  const { breaker } = status;
  const node = byId("sum-breaker");
  setText(node, breaker.open ? "Breaker open" : words(status.store || "–"));
  node.dataset.tone = breaker.open ? "bad" : "";
  const probe = breaker.next_probe_ms ? `, next probe in ${span(breaker.next_probe_ms - now)}` : "";
  const trips = breaker.trips > 0 ? `breaker closed, tripped ${number(breaker.trips)} ×` : "breaker closed";
  setText(byId("sum-breaker-note"), breaker.open ? `${breaker.since_ms ? `for ${span(now - breaker.since_ms)}` : ""}${probe}` : trips);
}

function show(status) {
  now = status.now_ms;
  measure(status);
  document.body.classList.remove("stale");
  document.title = `${status.readiness.ready ? "" : "● "}drover ${status.group}`;
  showIdentity(status);
  if (status.draining) showReadiness("Draining", "warn", status.readiness.reasons);
  else if (status.readiness.ready) showReadiness("Ready", "good", ["every consumer runs and the store answers"]);
  else showReadiness("Not ready", "bad", status.readiness.reasons);

  const total = (value) => status.consumers.reduce((sum, c) => sum + value(c), 0);
  const dead = total((c) => c.dead_letters);
  const restarts = status.children.reduce((sum, c) => sum + c.restarts, 0);
  showSum("sum-rate", rateOf(""));
  showSum("sum-stored", total((c) => c.stored));
  showSum("sum-lag", status.consumers.some((c) => c.lag === null) ? null : total((c) => c.lag));
  showSum("sum-dead", dead, bad(dead));
  showSum("sum-restarts", restarts, restarts > 0 ? "warn" : null);
  showBreaker(status);
  drawLine(byId("sum-line").firstElementChild, history.rates.get(""));

  const since = new Map(status.children.map((child) => [child.id, child.since_ms]));
  consumers.show(status.consumers.map((c) => ({ ...c, since_ms: since.get(c.id) })), (c) => c.id);
  const owned = status.consumers.flatMap((c) => c.partitions.map((p) => ({ ...p, consumer: c.id })));
  owned.sort((a, b) => a.topic.localeCompare(b.topic) || a.partition - b.partition);
  byId("no-partitions").hidden = owned.length > 0;
  byId("partitions").hidden = owned.length === 0;
  partitions.show(owned, (p) => `${p.topic}/${p.partition}/${p.consumer}`);
  children.show(status.children, (c) => c.id);
  setText(byId("updated"), `Updated ${new Date(now).toLocaleTimeString()}`);
}

let lastAnswer = null;
let timer = 0;

// A tab that nobody sees asks only until it has something to show, and again when it is looked at.
async function poll() {
  clearTimeout(timer);
  timer = 0;
  if (document.hidden && lastAnswer !== null) return;
  try {
    const answer = await fetch("/api/v1/status", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) throw new Error(`the answer is ${answer.status}`);
    show(await answer.json());
    lastAnswer = performance.now();
  } catch (error) {
    document.body.classList.add("stale");
    const seen = lastAnswer === null ? "" : `what is shown is ${span(performance.now() - lastAnswer)} old`;
    showReadiness("No answer from drover", "bad", [seen || String(error.message)]);
  }
  clearTimeout(timer);
  timer = setTimeout(poll, PERIOD_MS);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) poll();
});
poll();
