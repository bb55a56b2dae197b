import { live, useLive, type Phase } from "../live/store";
import { now, useEachSecond } from "../live/clock";
import { duration } from "../ui/format";
import { Icon, type IconName } from "../ui/Icon";
import css from "./LiveBadge.module.css";

/** A snapshot comes each second; so long without one and what is shown is old. */
const STALE_S = 4;

interface Shown {
  tone: "ok" | "warn" | "bad";
  icon: IconName;
  word: string;
  what: string;
}

/** What the badge says. */
export function badge(phase: Phase, ageS: number | null): Shown {
  if (phase === "hidden") return { tone: "warn", icon: "paused", word: "paused", what: "Nothing is fetched while this tab is hidden." };
  if (phase === "connecting" && ageS === null) return { tone: "warn", icon: "rebalancing", word: "connecting", what: "The first state is on its way." };
  if (phase === "polling" && (ageS ?? 0) <= STALE_S * 2)
    return { tone: "warn", icon: "restart", word: "polling", what: "The stream cannot be had; the state is asked for every two seconds, and the feed stands still." };
  if (phase === "reconnecting") return { tone: "bad", icon: "rebalancing", word: "reconnecting", what: "drover does not answer; the page tries again by itself. What is shown is the last that came." };
  if ((ageS ?? 0) > STALE_S) return { tone: "bad", icon: "slow", word: "stale", what: "The connection is there, but nothing comes. What is shown is old." };
  return { tone: "ok", icon: "running", word: "live", what: "The state comes each second." };
}

/** Whether what is shown is what is. Read out when it changes; the seconds are not. */
export function LiveBadge() {
  const phase = useLive((state) => state.phase);
  // Read and not subscribed to: the badge changes with the second, not with each snapshot.
  const age = useEachSecond(() => {
    const { arrivedMs } = live.state();
    return arrivedMs === null ? null : Math.max(0, Math.floor((now() - arrivedMs) / 1000));
  });
  const { tone, icon, word, what } = badge(phase, age);
  const old = tone !== "ok" && age !== null && age > 1;
  return (
    <span className={`${css.badge ?? ""} ${css[tone] ?? ""}`} title={what} data-phase={word}>
      <Icon name={icon} size={13} />
      <span role="status">
        <span className="sr">Connection: </span>
        {word}
      </span>
      <span className={css.age} aria-hidden="true">
        {old ? duration(age) : ""}
      </span>
    </span>
  );
}
