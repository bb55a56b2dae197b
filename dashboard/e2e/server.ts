// Starts what the page talks to: the mock, or, where DROVER_BIN names the binary, drover itself with its demo.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const binary = process.env["DROVER_BIN"];
/** Whether the tests meet drover itself. */
export const isReal = binary !== undefined && binary !== "";

export interface Options {
  token?: string;
  viewerToken?: string;
  readOnly?: boolean;
  hostile?: boolean;
  consumers?: number;
  partitions?: number;
  rate?: number;
  basePath?: string;
}

export interface Server {
  url: string;
  stop: () => Promise<void>;
  /** Starts it again at the same address. */
  start: () => Promise<void>;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((done) => probe.listen(0, "127.0.0.1", done));
  const address = probe.address();
  await new Promise((done) => probe.close(done));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Waits for a condition, with a deadline. */
export async function until(what: string, condition: () => Promise<boolean>, ms = 60_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await condition().catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms / 1000} s`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

function run(command: string, args: string[], env: Record<string, string>): { child: ChildProcess; output: () => string } {
  // What is set for the tests is no setting of drover's, and what is set for another drover is none of this one's.
  const ours = Object.entries(process.env).filter(([name]) => !/^(DROVER_|MOCK_|KAFKA_|DATABASE_URL$|CONSUMER_GROUP$|MAX_CONSUMERS$|TOPIC_PARTITIONS$)/.test(name));
  const child = spawn(command, args, { env: { ...Object.fromEntries(ours), ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  const keep = (chunk: Buffer) => (text = (text + chunk.toString()).slice(-20_000));
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  return { child, output: () => text };
}

/** What to start. A demo takes no tokens, so a drover with tokens reads from the broker of a demo beside it. */
async function command(port: number, options: Options, scratch: string): Promise<{ command: string; args: string[]; env: Record<string, string>; beside: Server | null }> {
  const { token, viewerToken, readOnly, hostile, consumers, partitions, rate, basePath } = options;
  if (!isReal) {
    const env = {
      MOCK_PORT: String(port),
      ...(token && { MOCK_TOKEN: token }),
      ...(viewerToken && { MOCK_VIEWER_TOKEN: viewerToken }),
      ...(readOnly && { MOCK_READ_ONLY: "1" }),
      ...(hostile && { MOCK_HOSTILE: "1" }),
      ...(consumers && { MOCK_CONSUMERS: String(consumers) }),
      ...(partitions && { MOCK_PARTITIONS: String(partitions) }),
      ...(rate && { MOCK_RATE: String(rate) }),
      ...(basePath && { MOCK_BASE: basePath }),
    };
    return { command: process.execPath, args: [fileURLToPath(new URL("../mock/server.mjs", import.meta.url))], env, beside: null };
  }
  const common = [`--http-addr=127.0.0.1:${port}`, ...(consumers ? [`--consumers=${consumers}`] : []), ...(readOnly ? ["--read-only"] : [])];
  if (token || basePath) {
    const beside = await serve({ rate: 20 });
    const { settings } = (await (await fetch(`${beside.url}/api/v1/configuration`)).json()) as { settings: { name: string; value: string }[] };
    const brokers = settings.find(({ name }) => name === "kafka.brokers")?.value ?? "";
    const env = {
      ...(token && { DROVER_HTTP_TOKEN: token }),
      ...(viewerToken && { DROVER_HTTP_VIEWER_TOKEN: viewerToken }),
      ...(basePath && { DROVER_HTTP_BASE_PATH: basePath }),
    };
    return { command: binary ?? "", args: ["run", `--brokers=${brokers}`, "--group=e2e", `--database-url=sqlite:${scratch}/e2e.db`, ...common], env, beside };
  }
  const args = ["demo", ...common, `--events-per-second=${rate ?? 60}`, `--partitions=${partitions ?? 6}`, `--data-dir=${scratch}`];
  return { command: binary ?? "", args, env: {}, beside: null };
}

/** Lets drover's generator write broken events, bytes that are no text among them; the mock has none. */
export async function breakSome({ url }: Server): Promise<void> {
  if (!isReal) return;
  const { settings } = (await (await fetch(`${url}/api/v1/configuration`)).json()) as { settings: { name: string; value: string }[] };
  const named = (wanted: string) => settings.find(({ name }) => name === wanted)?.value ?? "";
  const { child, output } = run(binary ?? "", ["produce", `--brokers=${named("kafka.brokers")}`, `--topic=${named("kafka.topics")}`, "--batch-size=40", "--poison-every=1"], {});
  const code = await new Promise((done) => child.once("exit", done));
  if (code !== 0) throw new Error(`drover produce ended with ${String(code)}\n${output()}`);
}

/** Starts a server and waits until it answers. */
export async function serve(options: Options = {}): Promise<Server> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}${options.basePath ?? ""}`;
  const scratch = mkdtempSync(join(tmpdir(), "drover-e2e-"));
  const what = await command(port, options, scratch);
  let running: ReturnType<typeof run> | null = null;
  const start = async () => {
    running = run(what.command, what.args, what.env);
    const { child, output } = running;
    await until(`the server at ${url}`, async () => child.exitCode !== null || (await fetch(`${url}/api/v1/session`)).ok).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${output()}`);
    });
    if (child.exitCode !== null) throw new Error(`${what.command} ended with ${child.exitCode}\n${output()}`);
  };
  const end = async () => {
    const child = running?.child;
    running = null;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
    await ended;
    clearTimeout(timer);
  };
  await start();
  return { url, start, stop: end, ...{ [Symbol.asyncDispose]: () => dispose() } } as Server & AsyncDisposable;

  async function dispose() {
    await end();
    await what.beside?.stop();
    rmSync(scratch, { recursive: true, force: true });
  }
}
