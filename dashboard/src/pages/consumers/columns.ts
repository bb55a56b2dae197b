import { createColumnHelper, createSortedRowModel, rowSortingFeature, sortFn_alphanumeric, sortFn_basic, tableFeatures } from "@tanstack/react-table";
import type { ConsumerSnapshot } from "../../api/types";

export const features = tableFeatures({
  rowSortingFeature,
  sortedRowModel: createSortedRowModel(),
  sortFns: { alphanumeric: sortFn_alphanumeric, basic: sortFn_basic },
});

const helper = createColumnHelper<typeof features, ConsumerSnapshot>();

/** What is unknown sorts as the least. */
const least = (value: number | null) => value ?? -1;
const STATE_ORDER = ["failed", "backing_off", "stopped", "starting", "draining", "rebalancing", "paused", "running"];

export const columns = helper.columns([
  helper.accessor("id", { id: "consumer", header: "Consumer", sortFn: "alphanumeric" }),
  helper.accessor(({ state }) => (state === null ? -1 : STATE_ORDER.indexOf(state)), { id: "state", header: "State", sortFn: "basic" }),
  helper.accessor(({ stored_per_s }) => least(stored_per_s), { id: "rate", header: "Stored / s", sortFn: "basic", sortDescFirst: true }),
  helper.accessor("stored", { id: "stored", header: "Stored", sortFn: "basic", sortDescFirst: true }),
  helper.accessor(({ errors, dead_letters }) => errors + dead_letters, { id: "errors", header: "Errors + dead", sortFn: "basic", sortDescFirst: true }),
  helper.accessor(({ lag }) => least(lag), { id: "lag", header: "Lag", sortFn: "basic", sortDescFirst: true }),
  helper.accessor(({ lag_seconds }) => least(lag_seconds), { id: "behind", header: "Behind", sortFn: "basic", sortDescFirst: true }),
  helper.accessor(({ partitions }) => partitions.length, { id: "partitions", header: "Partitions", sortFn: "basic", sortDescFirst: true }),
  helper.accessor("restarts", { id: "restarts", header: "Restarts", sortFn: "basic", sortDescFirst: true }),
]);

/** `rate` or `-rate` of the address, as the table wants it. */
export function sortingOf(text: string | null): { id: string; desc: boolean }[] {
  if (!text) return [];
  const desc = text.startsWith("-");
  const id = desc ? text.slice(1) : text;
  return columns.some((column) => column.id === id) ? [{ id, desc }] : [];
}
