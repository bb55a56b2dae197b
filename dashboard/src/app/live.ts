import type { QueryClient } from "@tanstack/react-query";
import { createContext, use, useEffect, useSyncExternalStore } from "react";
import { sessionQuery } from "../api/queries";
import { FeedStore, type FeedView } from "../live/feed";
import { live, nextFrame } from "../live/store";
import { Stream } from "../live/stream";

/** The feed of this tab. */
export const feed = new FeedStore(nextFrame);

/** Opens the one stream of this tab. */
export const makeStream = (client: QueryClient): Stream =>
  new Stream({
    store: live,
    feed,
    onCommand: () => void client.invalidateQueries({ queryKey: ["exits"] }),
    onUnauthorized: () => void client.invalidateQueries({ queryKey: sessionQuery.queryKey }),
  });

export const StreamContext = createContext<Stream | null>(null);

/** The feed's view; the stream brings rows as long as somebody uses this. */
export function useFeed(): FeedView {
  const stream = use(StreamContext);
  useEffect(() => stream?.wantFeed(), [stream]);
  return useSyncExternalStore(feed.subscribe, feed.view);
}
