import { QueryClient, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { ApiError, get } from "./client";
import type { BurstStatus, EventAnswer, ExitRecord, History, Queue, Session, Statistics } from "./types";

/** The cache of everything that the stream does not bring. */
export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // An answer that says no will say so again; one that did not come may come.
        retry: (count, error) => count < 2 && (!(error instanceof ApiError) || error.status === 0 || error.status === 429 || error.status >= 500),
        retryDelay: (attempt) => Math.min(500 * 2 ** attempt, 4000),
        refetchOnWindowFocus: false,
        staleTime: 5_000,
      },
      mutations: { retry: false },
    },
  });
}

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: ({ signal }) => get<Session>("session", undefined, signal),
  staleTime: Infinity,
});

export const historyQuery = (minutes: number) =>
  queryOptions({
    queryKey: ["history", minutes],
    queryFn: ({ signal }) => get<History>("history", { minutes }, signal),
    // Past five minutes the steps are coarse, and the server has the newest; before, the stream brings every second.
    refetchInterval: ({ state }) => (state.data && state.data.step_ms > 1000 ? state.data.step_ms : false),
    staleTime: 0,
    placeholderData: keepPreviousData,
  });

export const statisticsQuery = (minutes: number) =>
  queryOptions({
    queryKey: ["statistics", minutes],
    queryFn: ({ signal }) => get<Statistics>("statistics", { minutes }, signal),
    refetchInterval: 5_000,
    placeholderData: keepPreviousData,
  });

export const queueQuery = queryOptions({
  queryKey: ["queue"],
  queryFn: ({ signal }) => get<Queue>("queue", undefined, signal),
  refetchInterval: 1_000,
});

export const eventQuery = (topic: string, partition: number, offset: number) =>
  queryOptions({
    queryKey: ["event", topic, partition, offset],
    queryFn: ({ signal }) =>
      get<EventAnswer>(`events/${encodeURIComponent(topic)}/${partition}/${offset}`, undefined, signal),
    refetchInterval: ({ state }) => nextLook(state.data?.status, state.dataUpdateCount + state.errorUpdateCount),
    staleTime: 0,
  });

/** Half a second at first, and slower with each look: what takes long is not there sooner for being asked for. Null: it is known. */
export const nextLook = (status: EventAnswer["status"] | undefined, looks: number): number | false =>
  status !== undefined && (isFinal(status) || (status === "unknown" && looks >= UNKNOWN_LOOKS)) ? false : Math.min(500 * 1.2 ** looks, 5_000);

/** A place of which nothing is known is asked for so many times, about ten seconds: it may be between two states. */
const UNKNOWN_LOOKS = 9;

/** Whether a place in the log will not change any more. */
export const isFinal = (status: EventAnswer["status"]): boolean =>
  status === "stored" || status === "dead_letter" || status === "expired" || status === "skipped";

export const exitsQuery = (id: string, generation: number | null) =>
  queryOptions({
    queryKey: ["exits", id, generation],
    queryFn: ({ signal }) =>
      get<{ exits: ExitRecord[] }>(`children/${encodeURIComponent(id)}/exits`, undefined, signal),
    placeholderData: keepPreviousData,
  });

export const burstQuery = (id: string) =>
  queryOptions({
    queryKey: ["burst", id],
    queryFn: ({ signal }) => get<BurstStatus>(`events/burst/${encodeURIComponent(id)}`, undefined, signal),
    // A process that was started again knows nothing of it.
    refetchInterval: ({ state }) => (state.data?.done || (state.error instanceof ApiError && state.error.status === 404) ? false : 300),
    staleTime: 0,
  });
