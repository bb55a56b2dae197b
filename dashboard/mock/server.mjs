// A stand-in for drover, for work on the page and for the tests of the page alone: serves dist and an invented herd with
// the headers of the real server. Plain Node, no dependency.
//
// MOCK_PORT (22210), MOCK_CONSUMERS (3), MOCK_PARTITIONS (6), MOCK_RATE events a second (60), MOCK_HOSTILE=1, MOCK_TOKEN,
// MOCK_VIEWER_TOKEN, MOCK_READ_ONLY=1, MOCK_BASE=/path, MOCK_STREAMS (64), MOCK_FAULTS=1 (a consumer that fell, one that failed).

import { createReadStream, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { Refusal, answer } from "./api.mjs";
import { Herd } from "./herd.mjs";

const env = process.env;
const number = (name, otherwise) => Number(env[name] ?? otherwise);
const base = env.MOCK_BASE ?? "";
const dist = fileURLToPath(new URL("../dist", import.meta.url));
const herd = new Herd({ consumers: number("MOCK_CONSUMERS", 3), partitions: number("MOCK_PARTITIONS", 6), rate: number("MOCK_RATE", 60), hostile: env.MOCK_HOSTILE === "1" });

const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
};
const KINDS = { ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8" };

// ---- the stream ----

const clients = new Set();
let lastId = 0;
const write = (client, event, data) => client.response.write(`id: mock-${++lastId}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
const toAll = (event, data) => clients.forEach((client) => write(client, event, data));

herd.onState = (child) => toAll("state", child);
herd.onCommand = (entry) => toAll("command", entry);
herd.onRows = (rows) => clients.forEach((client) => client.feed && client.rows.push(...rows));
setInterval(() => herd.tick(50), 50);
setInterval(() => toAll("snapshot", herd.snapshot(true)), 1000);
setInterval(() => {
  for (const client of clients) {
    if (client.rows.length === 0) continue;
    const rows = client.rows.slice(-500);
    write(client, "feed", { rows, dropped: client.rows.length - rows.length });
    client.rows = [];
  }
}, 250);
if (env.MOCK_FAULTS === "1") {
  setTimeout(() => {
    herd.fall("consumer-2", "panicked", "index out of bounds: the len is 3 but the index is 7", "src/kafka/decode.rs:218", 3_600_000);
    const failed = herd.child("consumer-3");
    Object.assign(failed, { state: "failed", since_ms: Date.now() - 40_000, restarts: 5, budget_left: 0, last_exit: { reason: "error", message: "the group refused the member: GroupAuthorizationFailed", location: null, at_ms: Date.now() - 40_000, generation: 6 } });
    herd.partitions[1].stopped = { code: "topic_recreated", message: "the topic was deleted and created again: its offsets mean something else. See drover offsets.", since_ms: Date.now() };
  }, 1500);
}

function stream(request, response, query) {
  if (clients.size >= number("MOCK_STREAMS", 64)) throw new Refusal(503, "too_many_streams", "64 clients are here already");
  response.writeHead(200, { ...HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  const client = { response, feed: query.get("feed") === "1", rows: [] };
  clients.add(client);
  response.write("retry: 2000\n\n");
  write(client, "snapshot", herd.snapshot(false));
  request.on("close", () => clients.delete(client));
}

// ---- who is there ----

const tokens = { operator: env.MOCK_TOKEN, viewer: env.MOCK_VIEWER_TOKEN };
const needsLogin = tokens.operator !== undefined;
const roleOf = (request) => (needsLogin ? (/(?:^|; )drover_session=(operator|viewer)/.exec(request.headers.cookie ?? "")?.[1] ?? null) : "operator");

function session(request, response, body) {
  const cookie = (value, age) => ({ "Set-Cookie": `drover_session=${value}; HttpOnly; SameSite=Strict; Path=${base || "/"}; Max-Age=${age}` });
  if (request.method === "DELETE") return send(response, 204, null, cookie("", 0));
  if (request.method === "POST") {
    const role = ["operator", "viewer"].find((one) => tokens[one] !== undefined && tokens[one] === body.token);
    if (!role) throw new Refusal(401, "unauthorized", "this is not the token");
    return send(response, 204, null, cookie(role, 3600));
  }
  return send(response, 200, { role: roleOf(request), login_required: needsLogin, read_only: env.MOCK_READ_ONLY === "1", actions: env.MOCK_READ_ONLY !== "1", drills: true, version: "0.1.0", base_path: base });
}

// ---- requests ----

function send(response, status, document, headers = {}) {
  const text = document === null ? "" : JSON.stringify(document);
  response.writeHead(status, { ...HEADERS, "Cache-Control": "no-store", ...(text && { "Content-Type": status >= 400 ? "application/problem+json" : "application/json" }), ...headers });
  response.end(text);
}

function file(response, path) {
  const wanted = path === "/" ? "/index.html" : path;
  const place = join(dist, normalize(wanted));
  const isThere = place.startsWith(dist) && extname(place) !== "" && existsSync(place);
  if (!isThere && extname(wanted) !== "") throw new Refusal(404, "not_found", `there is no ${path}`);
  if (isThere && !place.endsWith("index.html")) {
    response.writeHead(200, { ...HEADERS, "Content-Type": KINDS[extname(place)] ?? "application/octet-stream", "Cache-Control": "public, max-age=31536000, immutable" });
    return createReadStream(place).pipe(response);
  }
  const html = readFileSync(join(dist, "index.html"), "utf8").replace('<base href="/" />', `<base href="${base}/" />`);
  response.writeHead(200, { ...HEADERS, "Content-Type": KINDS[".html"], "Cache-Control": "no-cache" });
  response.end(html);
}

async function handle(request, response) {
  const url = new URL(request.url, "http://mock");
  if (base && !url.pathname.startsWith(`${base}/`) && url.pathname !== base) throw new Refusal(404, "not_found", "outside the base path");
  const path = url.pathname.slice(base.length) || "/";
  if (!path.startsWith("/api/v1/")) return file(response, path);
  let text = "";
  for await (const chunk of request) text += chunk;
  const body = text ? JSON.parse(text) : {};
  const name = path.slice("/api/v1/".length);
  if (request.method !== "GET" && request.headers["x-drover-request"] === undefined && !request.headers["content-type"]?.startsWith("application/json")) {
    throw new Refusal(415, "unsupported_media_type", "send a JSON object");
  }
  if (name === "session") return session(request, response, body);
  const role = roleOf(request);
  if (role === null) throw new Refusal(401, "unauthorized", "log in first");
  if (request.method !== "GET" && env.MOCK_READ_ONLY === "1") throw new Refusal(403, "forbidden", "this drover is read-only");
  if (request.method !== "GET" && role !== "operator") throw new Refusal(403, "forbidden", "a viewer gives no orders");
  if (name === "stream") return stream(request, response, url.searchParams);
  return send(response, ...answer(herd, request.method, name, url.searchParams, body));
}

createServer((request, response) => {
  handle(request, response).catch((error) => {
    const { status = 500, code = "internal", message } = error;
    if (!(error instanceof Refusal)) console.error(error);
    if (response.headersSent) return response.end();
    send(response, status, { type: "about:blank", title: code, status, detail: message, code });
  });
}).listen(number("MOCK_PORT", 22210), "127.0.0.1", function () {
  console.log(`drover's mock: http://127.0.0.1:${this.address().port}${base}/`);
});
