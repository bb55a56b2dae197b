import type { ComponentType } from "react";
import { Consumers } from "../pages/consumers/Consumers";
import { Events } from "../pages/events/Events";
import { Overview } from "../pages/overview/Overview";
import { Send } from "../pages/send/Send";
import type { IconName } from "../ui/Icon";

export interface Page {
  /** Below the base path. */
  path: string;
  /** The pattern of all addresses that are its own. */
  pattern: string;
  title: string;
  icon: IconName;
  /** The letter after `g`. */
  key: string;
  component: ComponentType;
}

/** Every page. Navigation, routes, shortcuts and titles are made from this list. */
export const PAGES: readonly Page[] = [
  { path: "/", pattern: "/", title: "Overview", icon: "overview", key: "o", component: Overview },
  { path: "/consumers", pattern: "/consumers", title: "Consumers", icon: "consumers", key: "c", component: Consumers },
  { path: "/events", pattern: "/events/:view?", title: "Events", icon: "events", key: "e", component: Events },
  { path: "/send", pattern: "/send", title: "Send", icon: "send", key: "s", component: Send },
];
