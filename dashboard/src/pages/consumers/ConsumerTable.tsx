import { useTable } from "@tanstack/react-table";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useCallback, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { ConsumerSnapshot } from "../../api/types";
import { useShortcuts } from "../../app/shortcuts";
import { useUrl } from "../../app/url";
import { useLive, useSnapshot } from "../../live/store";
import { Icon } from "../../ui/Icon";
import { TextField } from "../../ui/Field";
import { Empty, Loading } from "../../ui/Notice";
import { Panel } from "../../ui/Panel";
import { columns, features, sortingOf } from "./columns";
import { ConsumerRow } from "./ConsumerRow";
import { Scale } from "./Scale";
import css from "./ConsumerTable.module.css";

const NONE: ConsumerSnapshot[] = [];
const ROW = 54;

/** The consumers, one a row. The address holds sorting, filter and which row is open. */
export function ConsumerTable() {
  const consumers = useSnapshot((all) => all.consumers, NONE);
  const known = useLive(({ snapshot }) => snapshot !== null);
  const [url, setUrl] = useUrl();
  const wanted = url.get("q") ?? "";
  const open = url.get("open");
  const sort = url.get("sort");
  const sorting = useMemo(() => sortingOf(sort), [sort]);
  const data = useMemo(() => filter(consumers, wanted), [consumers, wanted]);
  const search = useRef<HTMLDivElement>(null);

  const table = useTable({
    features,
    columns,
    data,
    getRowId: ({ id }) => id,
    state: { sorting },
    onSortingChange: (change) => {
      const [first] = typeof change === "function" ? change(sorting) : change;
      setUrl({ sort: first ? `${first.desc ? "-" : ""}${first.id}` : null });
    },
  });
  const sorted = table.getRowModel().rows;
  // Nobody shall aim at one row and hit another: while a pointer or the focus is among them, rows keep their places.
  const [order, setOrder] = useState<ReadonlyMap<string, number> | null>(null);
  const rows = useMemo(() => (order ? [...sorted].sort((one, other) => (order.get(one.id) ?? Infinity) - (order.get(other.id) ?? Infinity)) : sorted), [order, sorted]);
  const hold = () => setOrder((held) => held ?? new Map(sorted.map(({ id }, at) => [id, at])));
  const letGo = () => setOrder(null);

  const list = useRef<HTMLDivElement>(null);
  const isEmpty = rows.length === 0;
  const [top, setTop] = useState(0);
  // Where the list begins in the page: what stands above it may wrap.
  useLayoutEffect(() => {
    const measure = () => {
      if (list.current) setTop(Math.round(list.current.getBoundingClientRect().top + window.scrollY));
    };
    measure();
    window.addEventListener("resize", measure);
    return () => window.removeEventListener("resize", measure);
  }, [known, isEmpty]);
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => ROW,
    overscan: 2,
    getItemKey: (at) => rows[at]?.id ?? at,
    scrollMargin: top,
    useFlushSync: false,
  });
  const items = virtual.getVirtualItems();
  const above = (items[0]?.start ?? 0) - virtual.options.scrollMargin;
  const below = virtual.getTotalSize() - ((items.at(-1)?.end ?? 0) - virtual.options.scrollMargin);

  const toggle = useCallback((id: string, shown: boolean) => setUrl({ open: shown ? null : id }), [setUrl]);
  useShortcuts(useMemo(() => [{ keys: "/", what: "Filter the consumers", run: () => search.current?.querySelector("input")?.focus() }], []));

  return (
    <Panel
      title="Consumers"
      flush
      tools={
        <>
          <div ref={search} className={css.search}>
            <TextField label="Filter consumers" hidden type="search" placeholder="Name, state or topic" value={wanted} onChange={({ target }) => setUrl({ q: target.value })} />
          </div>
          <Scale />
        </>
      }
    >
      {!known ? (
        <Loading what="consumers" />
      ) : rows.length === 0 ? (
        consumers.length === 0 ? (
          <Empty title="No consumers here" icon="consumers">
            <p>
              Scale up above, or start drover with <code>--consumers 3</code>.
            </p>
          </Empty>
        ) : (
          <Empty title={`None of ${consumers.length} consumers matches`} icon="search">
            <p>The filter looks in names, states and topics.</p>
          </Empty>
        )
      ) : (
        <div role="table" aria-label="Consumers" aria-rowcount={rows.length + 1} className={css.table}>
          <div role="rowgroup" className={css.head}>
            <div role="row" aria-rowindex={1} className={css.grid}>
              {table.getFlatHeaders().map(({ column }) => {
                const sorted = column.getIsSorted();
                return (
                  <div key={column.id} role="columnheader" className={css[column.id]} aria-sort={sorted === "asc" ? "ascending" : sorted === "desc" ? "descending" : "none"}>
                    <button type="button" className={css.sort} data-sorted={sorted || undefined} onClick={column.getToggleSortingHandler()}>
                      {column.columnDef.header as string}
                      <Icon name={sorted === "asc" ? "up" : sorted === "desc" ? "down" : "sort"} size={11} />
                    </button>
                  </div>
                );
              })}
              <div role="columnheader" className={css.actions}>
                <span className="sr">Orders</span>
              </div>
            </div>
          </div>
          {/* eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions -- nothing is done by it: rows keep their places */}
          <div role="rowgroup" ref={list} onPointerEnter={hold} onPointerLeave={letGo} onFocus={hold} onBlur={letGo}>
            {above > 0 && <div style={{ height: above }} />}
            {items.map(({ index }) => {
              const row = rows[index];
              return (
                row && (
                  <div key={row.id} ref={virtual.measureElement} data-index={index} className={css.item} role="presentation">
                    <ConsumerRow consumer={row.original} index={index} open={row.id === open} onToggle={toggle} />
                  </div>
                )
              );
            })}
            {below > 0 && <div style={{ height: below }} />}
          </div>
        </div>
      )}
    </Panel>
  );
}

function filter(consumers: ConsumerSnapshot[], wanted: string): ConsumerSnapshot[] {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return consumers;
  return consumers.filter(({ id, state, held, partitions }) => {
    const text = `${id} ${state?.replace("_", " ") ?? ""} ${held?.kind ?? ""} ${partitions.map(({ topic, partition }) => `${topic}/${partition}`).join(" ")}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
