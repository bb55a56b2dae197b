import { memo } from "react";

// Drawn on 16 by 16, with lines of 1.5.
const PATHS = {
  overview: "M2 9.5 5 6l3 3 6-6M2 13.5h12",
  consumers: "M8 2v4M8 6H3.5v3M8 6h4.5v3M2 9h3v3.5H2zM11 9h3v3.5h-3zM6.5 9h3v3.5h-3zM8 6v3",
  events: "M2 4h12M2 8h12M2 12h7",
  send: "M14 2 7 9M14 2 9.5 14 7 9 2 6.5z",
  running: "M4.5 8.5 7 11l4.5-5.5",
  starting: "M8 4v4l2.5 1.5",
  paused: "M6 5v6M10 5v6",
  rebalancing: "M4 6h7L9 4M12 10H5l2 2",
  backing_off: "M11.5 6.2A4 4 0 1 0 12 9M12 4v2.6H9.4",
  draining: "M8 4v7M5 8.5 8 11.5l3-3",
  stopped: "M5.5 5.5h5v5h-5z",
  failed: "M5.5 5.5l5 5M10.5 5.5l-5 5",
  quarantined: "M8 4.5v4M8 11v.4",
  ok: "M3.5 8.5 6.5 11.5 12.5 4.5",
  warn: "M8 2.5 14.2 13.5H1.8zM8 6.5v3.5M8 11.6v.4",
  bad: "M4 4l8 8M12 4l-8 8",
  info: "M8 7v5M8 4v.4",
  up: "M8 13V3.5M4 7l4-4 4 4",
  down: "M8 3v9.5M4 9l4 4 4-4",
  flat: "M2.5 8h11M10 4.5 13.5 8 10 11.5",
  sort: "M5 6.5 8 3.5l3 3M5 9.5l3 3 3-3",
  more: "M4 6.5 8 10.5l4-4",
  close: "M4 4l8 8M12 4l-8 8",
  menu: "M2 4.5h12M2 8h12M2 11.5h12",
  light: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6zM8 1.5v1.4M8 13.1v1.4M1.5 8h1.4M13.1 8h1.4M3.4 3.4l1 1M11.6 11.6l1 1M3.4 12.6l1-1M11.6 4.4l1-1",
  dark: "M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z",
  system: "M2 3h12v8H2zM6 14h4M8 11v3",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M5 3.2 12.5 8 5 12.8z",
  restart: "M12.8 6.2A5 5 0 1 0 13 9M13 3v3.4H9.6",
  copy: "M5.5 5.5h7.5V14H5.5zM10.5 5.5V2.5H3v8.5h2.5",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3l3.4 3.4",
  drop: "M8 2.5v5M8 7.5l-4 4M8 7.5l4 4M4 13.5h8",
  help: "M5.8 6.1a2.2 2.2 0 1 1 3.2 2c-.7.4-1 .8-1 1.5M8 12v.4",
  leave: "M6.5 2.5h-4v11h4M6 8h7.5M10.5 5l3 3-3 3",
  page: "M3.5 2h6l3 3v9h-9zM9.5 2v3h3",
  click: "M6 6l7 2.8-3 1.2-1.2 3zM6 2v1.8M2 6h1.8M3.2 3.2l1.2 1.2",
  form: "M2.5 3h11v10h-11zM5 6.2h6M5 9.5h3.5",
  message: "M2.5 3h11v7.5H8l-3 3v-3H2.5z",
  slow: "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2zM8 5v3.2l2.2 1.4",
  burst: "M9 1.8 3.5 9H8l-1 5.2L12.5 7H8z",
} as const;

export type IconName = keyof typeof PATHS;

/** A drawing beside a word; it says nothing by itself. */
export const Icon = memo(function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
    </svg>
  );
});
