import { QueryClientProvider } from "@tanstack/react-query";
import { act, cleanup, render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { makeQueryClient } from "../api/queries";
import type { Session } from "../api/types";
import { live } from "../live/store";
import { consumer, snapshot } from "../test/snapshot";
import { App } from "./App";

const asked: { method: string; path: string; body: unknown }[] = [];
let session: Session;
let answers: Record<string, () => Response>;
const json = (document: unknown, status = 200) => new Response(status === 204 ? null : JSON.stringify(document), { status, headers: { "Content-Type": "application/json" } });

class NoSource extends EventTarget {
  close(): void {
    // Nothing to close.
  }
}

beforeEach(() => {
  asked.length = 0;
  history.replaceState(null, "", "/");
  session = { role: "operator", login_required: false, read_only: false, actions: true, drills: true, version: "0.1.0", base_path: "" };
  answers = { "GET session": () => json(session) };
  vi.stubGlobal("EventSource", NoSource);
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    const method = init.method ?? "GET";
    const path = url.replace("/api/v1/", "").replace(/\?.*/, "");
    asked.push({ method, path, body: typeof init.body === "string" ? JSON.parse(init.body) : null });
    return Promise.resolve(answers[`${method} ${path}`]?.() ?? json({ code: "not_found", detail: "not here" }, 404));
  });
});
afterEach(() => {
  cleanup();
  live.clear();
  vi.unstubAllGlobals();
});

async function open(path: string) {
  history.replaceState(null, "", path);
  const client = makeQueryClient();
  client.setDefaultOptions({ queries: { retry: false, refetchOnWindowFocus: false } });
  render(
    <QueryClientProvider client={client}>
      <App client={client} />
    </QueryClientProvider>,
  );
  await screen.findByRole("heading", { level: 1 });
}
// The page draws with the next frame.
const show = (more = {}) =>
  act(async () => {
    live.snapshot(snapshot(more), "live");
    await new Promise((done) => requestAnimationFrame(done));
  });

it("asks for the token, says when it is wrong, and lets in with the right one", async () => {
  session = { ...session, role: null, login_required: true };
  answers["POST session"] = () => json({ code: "unauthorized", detail: "no" }, 401);
  await open("/");
  const user = userEvent.setup();
  await user.type(screen.getByLabelText("Token"), "wrong");
  await user.click(screen.getByRole("button", { name: "Log in" }));
  expect((await screen.findByRole("alert")).textContent).toContain("not the token");
  answers["POST session"] = () => json(null, 204);
  session = { ...session, role: "operator" };
  await user.click(screen.getByRole("button", { name: "Log in" }));
  await screen.findByRole("heading", { level: 1, name: "Overview" });
});

it("shows an order as pending until the state shows it done", async () => {
  answers["POST consumers/consumer-1/pause"] = () => json({ message: "consumer-1 is paused" });
  await open("/events");
  const { pause } = await import("../pages/consumers/orders");
  const { usePending } = await import("./orders");
  const Shown = () => <output>{usePending("consumer-1") ?? "nothing"}</output>;
  render(<Shown />);
  await show();
  act(() => void pause("consumer-1"));
  const output = screen.getByText("pausing");
  await screen.findByText("consumer-1 is paused");
  expect(output.textContent).toBe("pausing");
  await show({ consumers: [consumer("consumer-1", { held: { kind: "paused", reason: "r", by: "b", since_ms: 1, until_ms: null } })] });
  expect(output.textContent).toBe("nothing");
});

it("says why an order was refused", async () => {
  answers["POST consumers/consumer-9/pause"] = () => json({ code: "not_found", detail: "there is no consumer consumer-9" }, 404);
  await open("/");
  const { pause } = await import("../pages/consumers/orders");
  act(() => void pause("consumer-9"));
  await screen.findByText("consumer-9 was not paused: there is no consumer consumer-9");
});

it("hides orders from a viewer", async () => {
  session = { ...session, role: "viewer", login_required: true };
  await open("/send");
  await screen.findByText("You cannot send events here");
  expect(screen.queryByRole("button", { name: "Page view" })).toBeNull();
  expect(screen.getByText("viewer")).toBeTruthy();
});

it("follows the keyboard", async () => {
  await open("/");
  const user = userEvent.setup();
  await user.keyboard("gs");
  await screen.findByRole("heading", { level: 1, name: "Send" });
  await user.keyboard("?");
  await waitFor(() => expect(screen.getByText("Go to Consumers")).toBeTruthy());
});

it("sends an event and follows it until it is stored", async () => {
  let status = "not_read_yet";
  answers["POST events"] = () => json({ topic: "t", partition: 1, offset: 7, source: "api" }, 202);
  answers["GET events/t/1/7"] = () => json({ status, event: null, dead_letter: null, position: null, detail: "" });
  await open("/send");
  await userEvent.setup().click(await screen.findByRole("button", { name: /Button click/ }));
  await screen.findByText("t/1/7");
  status = "stored";
  await waitFor(() => expect(screen.getByText("stored")).toBeTruthy(), { timeout: 3000 });
  expect(asked.find(({ method, path }) => method === "POST" && path === "events")?.body).toMatchObject({ key: "user_0042", event: { event_type: "button_click" } });
});
