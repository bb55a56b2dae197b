import { Link, useParams } from "wouter";
import { useUrl } from "../../app/url";
import { NotFound } from "../../app/NotFound";
import { EventPanel } from "./EventPanel";
import { Find } from "./Find";
import { Live } from "./Live";
import { placeOf } from "./place";
import { Queue } from "./Queue";
import { Statistics } from "./Statistics";
import css from "./Events.module.css";

const VIEWS = [
  ["", "Live", Live],
  ["find", "Find", Find],
  ["statistics", "Statistics", Statistics],
  ["queue", "Queue", Queue],
] as const;

/** Events: as they are stored, wherever they are, and how many of which kind. */
export function Events() {
  const { view = "" } = useParams<{ view?: string }>();
  const [url, setUrl] = useUrl();
  const found = VIEWS.find(([path]) => path === view);
  const place = placeOf(url.get("event"));
  if (!found) return <NotFound />;
  const View = found[2];
  return (
    <div className={css.page}>
      <nav aria-label="Views of events">
        <ul className={css.tabs}>
          {VIEWS.map(([path, name]) => (
            <li key={path}>
              <Link href={path === "" ? "/events" : `/events/${path}`} className={css.tab} aria-current={path === view ? "page" : undefined}>
                {name}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <div className={css.split} data-open={place !== null}>
        <div className={css.view}>
          <View />
        </div>
        {place && <EventPanel key={url.get("event")} place={place} onClose={() => setUrl({ event: null })} />}
      </div>
    </div>
  );
}
