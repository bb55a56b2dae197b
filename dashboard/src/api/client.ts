import type { ProblemBody } from "./types";

/** An answer that says no (RFC 9457), or none at all (`status` 0). `message` is for people. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The address of an API route, below the base path that the server wrote into the page. */
export function apiUrl(path: string, query?: Record<string, string | number | null | undefined>): string {
  const url = new URL(`api/v1/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, String(value));
  }
  return url.pathname + url.search;
}

const TIMEOUT_MS = 15_000;

async function request<T>(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const init: RequestInit = {
    method,
    credentials: "same-origin",
    headers: { Accept: "application/json" },
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  };
  if (method !== "GET") {
    // Both are what a page of another origin cannot send unasked.
    init.headers = { Accept: "application/json", "Content-Type": "application/json", "X-Drover-Request": "1" };
    init.body = JSON.stringify(body ?? {});
  }
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    const late = error instanceof DOMException && error.name === "TimeoutError";
    throw new ApiError(
      0,
      late ? "timeout" : "unreachable",
      late
        ? `drover did not answer within ${TIMEOUT_MS / 1000} s.`
        : "drover does not answer. Is the process running, and is this machine connected to it?",
    );
  }
  if (response.ok) return response.status === 204 ? (undefined as T) : ((await response.json()) as T);
  const problem = (await response.json().catch(() => ({}))) as ProblemBody;
  const message = problem.detail ?? problem.title ?? `drover answered ${response.status} ${response.statusText}`;
  throw new ApiError(response.status, problem.code ?? `http_${response.status}`, message);
}

/** Reads. */
export const get = <T>(path: string, query?: Record<string, string | number | null | undefined>, signal?: AbortSignal) =>
  request<T>("GET", apiUrl(path, query), undefined, signal);

/** Orders. */
export const post = <T>(path: string, body?: unknown) => request<T>("POST", apiUrl(path), body);

/** Ends something. */
export const remove = (path: string) => request<undefined>("DELETE", apiUrl(path));

/** What went wrong, in one sentence. */
export function explain(error: unknown): string {
  if (error instanceof Error) return error.message;
  return String(error);
}
