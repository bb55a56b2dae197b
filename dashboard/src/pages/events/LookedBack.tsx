import type { EventPage } from "../../api/types";
import { Ago } from "../../ui/Time";

/** How far back a search looked, and whether it stopped there. */
export function LookedBack({ page: { looked_back_to_ms, complete, next } }: { page: EventPage }) {
  if (complete && next === null) return <>Everything that is stored was looked at.</>;
  if (looked_back_to_ms === null) return <>Older ones were not looked at yet.</>;
  return (
    <>
      Looked back to <b>{stamp(looked_back_to_ms)}</b>, <Ago ms={looked_back_to_ms} />
      {complete ? "." : "; the search is bounded and stopped there."}
    </>
  );
}

const stamp = (ms: number) => new Date(ms).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
